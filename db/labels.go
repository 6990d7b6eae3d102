package db

import (
	"context"
	"fmt"
	"slices"

	"wherry/platform"
)

const labelColumns = `l.id, l.workspace_id, l.name, l.value, l.resource, l.is_default, l.created_at`

func scanLabel(s scanner) (l platform.WorkspaceLabel, err error) {
	err = s.Scan(&l.ID, &l.WorkspaceID, &l.Name, &l.Value, &l.Resource, &l.Default, timeColumn{&l.Created})
	return l, err
}

const labelOrder = ` ORDER BY l.name COLLATE NOCASE, l.value, l.id`

// Labels lists a workspace's labels by name.
func (d *DB) Labels(ctx context.Context, workspaceID int64) ([]platform.WorkspaceLabel, error) {
	return all(ctx, d.read, scanLabel, `SELECT `+labelColumns+` FROM labels l WHERE l.workspace_id = ?`+labelOrder, workspaceID)
}

// Label reads one label of a workspace.
func (d *DB) Label(ctx context.Context, workspaceID, id int64) (platform.WorkspaceLabel, error) {
	return readLabel(ctx, d.read, workspaceID, id)
}

func readLabel(ctx context.Context, q queryer, workspaceID, id int64) (platform.WorkspaceLabel, error) {
	l, err := scanLabel(q.QueryRowContext(ctx, `SELECT `+labelColumns+` FROM labels l WHERE l.workspace_id = ? AND l.id = ?`, workspaceID, id))
	return l, notFound(err, "label")
}

// AddLabel saves a new label that Clean has accepted, and gives it its id. One that is there already is an error at name.
func (d *DB) AddLabel(ctx context.Context, l *platform.WorkspaceLabel) error {
	return d.inTx(ctx, func(t *tx) error {
		l.Created = t.now.UTC()
		err := t.QueryRowContext(ctx, `INSERT INTO labels (workspace_id, name, value, resource, is_default, created_at) VALUES (?, ?, ?, ?, ?, ?) RETURNING id`,
			l.WorkspaceID, l.Name, l.Value, l.Resource, l.Default, millis(t.now)).Scan(&l.ID)
		t.labelChanged(*l, "create", nil, labelValues(*l))
		return labelTaken(err, *l)
	})
}

// UpdateLabel renames a label, or makes it a default one. Machines that run keep the tags that they were started with.
func (d *DB) UpdateLabel(ctx context.Context, l platform.WorkspaceLabel) error {
	return d.inTx(ctx, func(t *tx) error {
		was, err := readLabel(ctx, t, l.WorkspaceID, l.ID)
		if err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `UPDATE labels SET name = ?, value = ?, is_default = ? WHERE id = ?`, l.Name, l.Value, l.Default, l.ID)
		t.labelChanged(l, "update", labelValues(was), labelValues(l))
		return labelTaken(err, l)
	})
}

// DeleteLabel deletes a label, and takes it off whatever has it.
func (d *DB) DeleteLabel(ctx context.Context, workspaceID, id int64) error {
	return d.inTx(ctx, func(t *tx) error {
		l, err := readLabel(ctx, t, workspaceID, id)
		if err != nil {
			return err
		}
		t.labelChanged(l, "delete", labelValues(l), nil)
		_, err = t.ExecContext(ctx, `DELETE FROM labels WHERE id = ?`, id)
		return err
	})
}

func labelTaken(err error, l platform.WorkspaceLabel) error {
	if isUnique(err, "labels.workspace_id") {
		return platform.FieldErrors{"name": "There is a label " + l.Text() + " already."}
	}
	return err
}

func labelValues(l platform.WorkspaceLabel) any {
	return map[string]any{"name": l.Name, "value": l.Value, "resource": l.Resource, "isDefault": l.Default}
}

// labelChanged notes what happened to a label. Every list may show it.
func (t *tx) labelChanged(l platform.WorkspaceLabel, verb string, before, after any) {
	t.audit(audited{action: "label." + verb, workspaceID: l.WorkspaceID, id: l.ID, name: l.Text(), before: before, after: after})
	for _, kind := range []platform.ChangeKind{platform.ChangeLaunch, platform.ChangeEnvs} {
		t.change(l.WorkspaceID, "", kind)
	}
}

// labelled are the things of a workspace that have labels, with their names. What was deleted is not among them.
const labelled = `SELECT 'pipeline' AS kind, CAST(id AS TEXT) AS id, workspace_id, name FROM pipelines UNION ALL SELECT 'run', id, workspace_id, name FROM runs
	UNION ALL SELECT 'compute-env', id, workspace_id, name FROM compute_envs WHERE deleted_at = 0
	UNION ALL SELECT 'studio', id, workspace_id, name FROM studios WHERE deleted_at = 0`

// LabelUse is how many things of a kind have a label.
type LabelUse struct {
	LabelID int64
	Kind    platform.LabelKind
	Count   int
}

// LabelUses tells where the labels of a workspace are used.
func (d *DB) LabelUses(ctx context.Context, workspaceID int64) ([]LabelUse, error) {
	return all(ctx, d.read, func(s scanner) (u LabelUse, err error) { err = s.Scan(&u.LabelID, &u.Kind, &u.Count); return u, err },
		`SELECT u.label_id, u.kind, count(*) FROM label_uses u JOIN (`+labelled+`) x ON x.kind = u.kind AND x.id = u.of_id
		WHERE x.workspace_id = ? GROUP BY u.label_id, u.kind ORDER BY u.label_id, u.kind`, workspaceID)
}

// labelOf is a label, and what it stands on.
type labelOf struct {
	platform.WorkspaceLabel
	id string
}

// LabelsByThing maps the ids of a workspace's things of one kind to their labels. Without ids it is about all of them.
func (d *DB) LabelsByThing(ctx context.Context, workspaceID int64, kind platform.LabelKind, ids ...string) (map[string][]platform.WorkspaceLabel, error) {
	if ids == nil {
		ids = []string{}
	}
	list, err := all(ctx, d.read, func(s scanner) (l labelOf, err error) {
		l.WorkspaceLabel, err = scanLabel(alsoScan{s, &l.id})
		return l, err
	}, `SELECT `+labelColumns+`, u.of_id FROM label_uses u JOIN labels l ON l.id = u.label_id WHERE l.workspace_id = ?1 AND u.kind = ?2
		AND (?3 = '[]' OR u.of_id IN (SELECT value FROM json_each(?3)))`+labelOrder, workspaceID, kind, toJSON(ids))
	of := map[string][]platform.WorkspaceLabel{}
	for _, l := range list {
		of[l.id] = append(of[l.id], l.WorkspaceLabel)
	}
	return of, err
}

// LabelsOn lists the labels of one thing.
func (d *DB) LabelsOn(ctx context.Context, kind platform.LabelKind, id string) ([]platform.WorkspaceLabel, error) {
	return labelsOn(ctx, d.read, kind, id)
}

func labelsOn(ctx context.Context, q queryer, kind platform.LabelKind, id string) ([]platform.WorkspaceLabel, error) {
	return all(ctx, q, scanLabel, `SELECT `+labelColumns+` FROM label_uses u JOIN labels l ON l.id = u.label_id WHERE u.kind = ? AND u.of_id = ?`+labelOrder, kind, id)
}

// SetLabels gives a thing of a workspace the labels with these ids, and no others. A label that is not there, and one too many, is
// an error at labelIds.
func (d *DB) SetLabels(ctx context.Context, workspaceID int64, kind platform.LabelKind, id string, labelIDs []int64) error {
	if labelIDs == nil {
		labelIDs = []int64{}
	}
	return d.inTx(ctx, func(t *tx) error { return t.setLabels(ctx, workspaceID, kind, id, labelIDs) })
}

// setLabels is SetLabels within a transaction; nil leaves the labels as they are.
func (t *tx) setLabels(ctx context.Context, workspaceID int64, kind platform.LabelKind, id string, labelIDs []int64) error {
	if labelIDs == nil {
		return nil
	}
	var name string
	err := t.QueryRowContext(ctx, `SELECT name FROM (`+labelled+`) WHERE workspace_id = ? AND kind = ? AND id = ?`, workspaceID, kind, id).Scan(&name)
	if err != nil {
		return notFound(err, string(kind))
	}
	labels, err := t.chosenLabels(ctx, workspaceID, labelIDs)
	if err != nil {
		return err
	}
	was, err := labelsOn(ctx, t, kind, id)
	if err != nil || slices.Equal(was, labels) {
		return err
	}
	if _, err := t.ExecContext(ctx, `DELETE FROM label_uses WHERE kind = ? AND of_id = ?`, kind, id); err != nil {
		return err
	}
	for _, l := range labels {
		if _, err := t.ExecContext(ctx, `INSERT INTO label_uses (label_id, kind, of_id) VALUES (?, ?, ?)`, l.ID, kind, id); err != nil {
			return err
		}
	}
	t.audit(audited{action: string(kind) + ".label", workspaceID: workspaceID, id: id, name: name,
		before: map[string]any{"labels": texts(was)}, after: map[string]any{"labels": texts(labels)}})
	t.labelsChanged(workspaceID, kind, id)
	return nil
}

func texts(labels []platform.WorkspaceLabel) []string {
	list := make([]string, 0, len(labels))
	for _, l := range labels {
		list = append(list, l.Text())
	}
	return list
}

// labelsChanged notes that a thing shows other labels.
func (t *tx) labelsChanged(workspaceID int64, kind platform.LabelKind, id string) {
	switch kind {
	case platform.LabelsPipeline:
		t.change(workspaceID, "", platform.ChangeLaunch)
	case platform.LabelsRun:
		t.change(workspaceID, id, platform.ChangeRun)
	case platform.LabelsComputeEnv:
		t.change(workspaceID, "", platform.ChangeEnvs)
	case platform.LabelsStudio:
		t.changeStudio(workspaceID, id)
	}
}

// chosenLabels reads the labels that were chosen, in the order of lists.
func (t *tx) chosenLabels(ctx context.Context, workspaceID int64, ids []int64) ([]platform.WorkspaceLabel, error) {
	labels, err := all(ctx, t, scanLabel, `SELECT `+labelColumns+` FROM labels l WHERE l.workspace_id = ? AND l.id IN (SELECT value FROM json_each(?))`+labelOrder,
		workspaceID, toJSON(ids))
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(labels, func(l platform.WorkspaceLabel) bool { return l.ID == id }) {
			return nil, platform.FieldErrors{"labelIds": "A label that was chosen was deleted meanwhile. Look at the labels, and save again."}
		}
	}
	if err := platform.CheckLabels(nil, labels); err != nil {
		return nil, platform.FieldErrors{"labelIds": err.Error()}
	}
	return labels, nil
}

// checkTags makes sure that a machine in an environment can have the tags of work with these labels.
func (t *tx) checkTags(ctx context.Context, env platform.ComputeEnv, kind platform.LabelKind, id string) error {
	if !env.InCloud() {
		return nil
	}
	of, err := labelsOn(ctx, t, platform.LabelsComputeEnv, env.ID)
	if err != nil {
		return err
	}
	labels, err := labelsOn(ctx, t, kind, id)
	if err != nil {
		return err
	}
	if err := platform.CheckLabels(platform.MachineTags(env.Config.ResourceLabels, platform.Tags(of)), labels); err != nil {
		return platform.FieldErrors{"labelIds": err.Error()}
	}
	return nil
}

// MachineTags are the tags that a machine gets for the labels of its environment and, over them, of its run or Studio.
func (d *DB) MachineTags(ctx context.Context, m platform.Machine) ([]platform.Label, error) {
	env, err := d.LabelsOn(ctx, platform.LabelsComputeEnv, m.ComputeEnvID)
	if err != nil {
		return nil, err
	}
	var work []platform.WorkspaceLabel
	switch {
	case m.RunID != "":
		work, err = d.LabelsOn(ctx, platform.LabelsRun, m.RunID)
	case m.StudioID != "":
		work, err = d.LabelsOn(ctx, platform.LabelsStudio, m.StudioID)
	}
	return platform.MachineTags(platform.Tags(env), platform.Tags(work)), err
}

// labelRelaunch gives a run that takes the place of another the labels of that one.
func (t *tx) labelRelaunch(ctx context.Context, r platform.Run) error {
	_, err := t.ExecContext(ctx, `INSERT INTO label_uses (label_id, kind, of_id) SELECT label_id, kind, ? FROM label_uses WHERE kind = ? AND of_id = ?`,
		r.ID, platform.LabelsRun, r.RelaunchOf)
	if err != nil {
		return fmt.Errorf("keeping the labels of a run: %w", err)
	}
	return nil
}

// unlabel takes the labels off a thing that is deleted.
func (t *tx) unlabel(ctx context.Context, kind platform.LabelKind, id string) error {
	_, err := t.ExecContext(ctx, `DELETE FROM label_uses WHERE kind = ? AND of_id = ?`, kind, id)
	return err
}
