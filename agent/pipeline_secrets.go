package agent

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"wherry/platform"
)

// storedSecret is one of Nextflow's secrets as it keeps them, in a list (nextflow.secret.LocalSecretsProvider, Nextflow 24.10).
type storedSecret struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// secretsStore is the file of Nextflow's store of secrets: on the machine's own disk, and in no folder that is kept, published or
// worked in. Nextflow puts a file beside it, which tasks that ask for secrets read
// (LocalSecretsProvider.makeTempSecretsFile), and wants both readable for their owner alone.
func (a *agent) secretsStore() string {
	return filepath.Join(a.Dir, platform.SecretsFolder, "store.json")
}

// writeSecrets writes the store, where the run has secrets. Those that the machine's user has set with Nextflow stay there; of the
// same name the run's count.
func (a *agent) writeSecrets() error {
	if len(a.spec.PipelineSecrets) == 0 {
		return nil
	}
	if err := errors.Join(a.removeSecrets(), os.MkdirAll(filepath.Dir(a.secretsStore()), 0o700)); err != nil {
		return err
	}
	values := map[string]string{}
	for _, s := range storedSecrets(filepath.Join(ownHome(), "secrets", "store.json")) {
		values[s.Name] = s.Value
	}
	maps.Copy(values, a.spec.PipelineSecrets)
	list := []storedSecret{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list = append(list, storedSecret{name, values[name]})
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return os.WriteFile(a.secretsStore(), text, 0o600)
}

// storedSecrets reads a store. One that is not there, or that Nextflow would not read either, has none.
func storedSecrets(path string) (list []storedSecret) {
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &list) != nil {
		return nil
	}
	return list
}

// removeSecrets removes the store and what Nextflow made of it.
func (a *agent) removeSecrets() error { return os.RemoveAll(filepath.Dir(a.secretsStore())) }

// endSecrets removes the store when Nextflow has ended.
func (a *agent) endSecrets() {
	if err := a.removeSecrets(); err != nil {
		a.Log.Warn("the store of secrets could not be removed", "error", err)
	}
}

// secretsOf are the secrets of a machine's work.
func secretsOf(spec platform.Spec) []string {
	list := []string{spec.Cloud.AccessToken}
	for _, values := range []map[string]string{spec.PipelineSecrets, spec.Secrets} {
		for _, value := range values {
			list = append(list, value)
		}
	}
	if spec.Studio != nil {
		list = append(list, spec.Studio.Token)
	}
	return list
}
