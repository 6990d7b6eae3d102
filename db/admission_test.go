package db

import (
	"testing"
	"time"

	"wherry/platform"
)

// addRunOf adds a run of a user, who is made where there is none.
func (f *fixture) addRunOf(userID int64, name string) platform.Machine {
	f.t.Helper()
	_, err := f.write.ExecContext(f.t.Context(), `INSERT OR IGNORE INTO users (id, user_name, email, password_hash, created_at) VALUES (?1, 'user' || ?1, 'user' || ?1, '', 0)`, userID)
	must(f.t, err)
	r := platform.Run{WorkspaceID: f.member.Workspace.ID, UserID: userID, ComputeEnvID: f.env.ID, Name: name, WorkDir: "/w"}
	m, err := f.AddRun(f.t.Context(), &r)
	must(f.t, err)
	return m
}

func (f *fixture) admit(m platform.Machine) Admission {
	f.t.Helper()
	m, err := f.Machine(f.t.Context(), m.ID)
	must(f.t, err)
	a, err := f.Admit(f.t.Context(), m)
	must(f.t, err)
	return a
}

// TestUsersTakeTurnsInTheQueue lets one user launch many runs before two others launch one each.
func TestUsersTakeTurnsInTheQueue(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, f.SetLimits(t.Context(), f.member.Workspace.ID, platform.Limits{Instances: 2}))
	var many []platform.Machine
	for _, name := range []string{"a", "b", "c", "d"} {
		many = append(many, f.addRunOf(7, name))
	}
	for i, m := range many[:2] {
		if a := f.admit(m); !a.Admitted {
			t.Fatalf("machine %d: %+v", i, a)
		}
	}
	if a := f.admit(many[0]); !a.Admitted {
		t.Errorf("a place that was given is taken back: %+v", a)
	}
	late, later := f.addRunOf(8, "e"), f.addRunOf(9, "f")
	for _, c := range []struct {
		name  string
		m     platform.Machine
		place int
	}{{"who has none is first", late, 1}, {"and then the other", later, 2}, {"who has two is behind", many[2], 3}, {"and then her next", many[3], 4}} {
		if a := f.admit(c.m); a.Admitted || a.Place != c.place || a.Living != 2 {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
	first, err := f.Machine(t.Context(), many[0].ID)
	must(t, err)
	for _, to := range []platform.MachineState{platform.MachineTerminating, platform.MachineTerminated} {
		must(t, f.MoveMachine(t.Context(), first, Move{To: to}))
		first.State = to
	}
	if a := f.admit(many[2]); a.Admitted {
		t.Errorf("one who waits behind was let in: %+v", a)
	}
	if a := f.admit(late); !a.Admitted {
		t.Errorf("there is a place, and it is not given: %+v", a)
	}
}

// TestSpendIsWhatMachinesCostInTheMonth has machines before, across and within the beginning of a month.
func TestSpendIsWhatMachinesCostInTheMonth(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	now := time.Date(2026, 5, 10, 0, 0, 0, 0, time.UTC)
	month := platform.Month(now)
	for name, c := range map[string]struct {
		from, until time.Time
	}{
		"before":          {month.Add(-3 * time.Hour), month.Add(-2 * time.Hour)},
		"across":          {month.Add(-time.Hour), month.Add(2 * time.Hour)},
		"a moment":        {month.Add(time.Hour), month.Add(time.Hour + time.Second)},
		"goes on":         {now.Add(-time.Hour), time.Time{}},
		"never began":     {time.Time{}, now},
		"free of charge?": {now.Add(-time.Hour), now},
	} {
		_, m := f.addRun(name)
		price := int64(6_000_000)
		if name == "free of charge?" {
			price = 0
		}
		_, err := f.write.ExecContext(t.Context(), `UPDATE machines SET hardware = ?, launched_at = ?, gone_at = ? WHERE id = ?`,
			toJSON(platform.Hardware{HourMicroUSD: price}), millis(c.from), millis(c.until), m.ID)
		must(t, err)
	}
	spent, err := f.Spent(t.Context(), f.member.Workspace.ID, month, now)
	must(t, err)
	if want := int64(2*6_000_000 + 100_000 + 6_000_000); spent != want { // two hours, a minute, an hour
		t.Errorf("spent %d, want %d", spent, want)
	}
	if other, err := f.Spent(t.Context(), f.member.Workspace.ID+1, month, now); err != nil || other != 0 {
		t.Errorf("another workspace spent %d, %v", other, err)
	}
}
