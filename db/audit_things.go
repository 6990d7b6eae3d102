package db

import (
	"crypto/sha256"
	"encoding/hex"

	"wherry/platform"
)

// fields are what an entry of the audit log shows of a thing, by the API's names.
type fields = map[string]any

func credentialsFields(c platform.Credentials) fields {
	return fields{"name": c.Name, "mode": c.Mode, "accessKey": c.AccessKey, "assumeRoleArn": c.RoleARN, "externalId": c.ExternalID}
}

func computeEnvFields(c platform.ComputeEnv) (fields, error) {
	config, err := withoutValues(c.Config)
	return fields{"name": c.Name, "platform": c.Platform, "region": c.Region, "workDir": c.WorkDir, "status": c.Status, "primary": c.Primary,
		"credentialsId": c.CredentialsID, "config": config, "accessToken": c.HasAccessToken}, err
}

func pipelineFields(p platform.Pipeline) (fields, error) {
	launch, err := withoutValues(p.Launch)
	return fields{"name": p.Name, "description": p.Description, "launch": launch}, err
}

func runFields(r platform.Run) (fields, error) {
	launch, err := withoutValues(r.Launch)
	f := fields{"runName": r.Name, "computeEnvId": r.ComputeEnvID, "workDir": r.WorkDir, "launch": launch}
	if r.RelaunchOf != "" {
		f["relaunchOf"] = r.RelaunchOf
	}
	return f, err
}

func studioFields(s platform.Studio) (fields, error) {
	config, err := withoutValues(s.Config)
	return fields{"name": s.Name, "description": s.Description, "private": s.Private, "computeEnvId": s.ComputeEnvID, "config": config}, err
}

func limitsFields(l platform.Limits) fields {
	return fields{"instances": l.Instances, "studios": l.Studios, "lifespanHours": l.LifespanHours, "monthMicroUsd": l.MonthMicroUSD}
}

// withoutValues is a configuration as JSON in which the values of environment variables are not: people keep passwords there.
// A mark tells whether a value is another than before. It is 16 bits of a hash, of which too many values have the same to find one.
func withoutValues(config any) (fields, error) {
	object, err := auditObject(config)
	if err != nil {
		return nil, err
	}
	variables, _ := object["environment"].([]any)
	if len(variables) == 0 {
		return object, nil
	}
	named := fields{}
	for _, v := range variables {
		variable, _ := v.(map[string]any)
		name, _ := variable["name"].(string)
		value, _ := variable["value"].(string)
		delete(variable, "name")
		mark := sha256.Sum256([]byte("wherry audit value " + name + "\n" + value))
		variable["value"] = "not kept (mark " + hex.EncodeToString(mark[:2]) + ")"
		named[name] = variable
	}
	object["environment"] = named
	return object, nil
}

// auditComputeEnv notes what becomes of an environment. was is nil for a new one, and is for one that goes.
func (t *tx) auditComputeEnv(action string, was, is *platform.ComputeEnv) error {
	return auditThing(t, action, was, is, computeEnvFields, func(c platform.ComputeEnv) (int64, any, string) { return c.WorkspaceID, c.ID, c.Name })
}

// auditPipeline is auditComputeEnv for saved pipelines.
func (t *tx) auditPipeline(action string, was, is *platform.Pipeline) error {
	return auditThing(t, action, was, is, pipelineFields, func(p platform.Pipeline) (int64, any, string) { return p.WorkspaceID, p.ID, p.Name })
}

// auditStudio is auditComputeEnv for Studios.
func (t *tx) auditStudio(action string, was, is *platform.Studio) error {
	return auditThing(t, action, was, is, studioFields, func(s platform.Studio) (int64, any, string) { return s.WorkspaceID, s.ID, s.Name })
}

func auditThing[T any](t *tx, action string, was, is *T, show func(T) (fields, error), name func(T) (workspaceID int64, id any, name string)) (err error) {
	a := audited{action: action}
	for _, side := range []struct {
		thing *T
		to    *any
	}{{was, &a.before}, {is, &a.after}} {
		if side.thing == nil {
			continue
		}
		a.workspaceID, a.id, a.name = name(*side.thing)
		if *side.to, err = show(*side.thing); err != nil {
			return err
		}
	}
	t.audit(a)
	return nil
}
