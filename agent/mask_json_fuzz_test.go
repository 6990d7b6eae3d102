package agent

import (
	"encoding/json"
	"testing"

	"wherry/mask"
)

// FuzzMaskJSON wants trace calls to stay JSON, with the same fields.
func FuzzMaskJSON(f *testing.F) {
	f.Add("hunter2", []byte(`{"a":"hunter2","hunter2":["\u0068unter2",1,true,null],"b\"":{"status":"hunter2"}}`))
	f.Add("true", []byte(` [ "\\" , true, "true\"" ] `))
	f.Add("\\\"a:", []byte(`{"\\\"":"x\\\"a:"}`))
	f.Fuzz(func(t *testing.T, secret string, text []byte) {
		if !json.Valid(text) {
			return
		}
		got := maskJSON(mask.New(secret), text)
		var before, after any
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%s with %q becomes %s: %v", text, secret, got, err)
		}
		if err := json.Unmarshal(text, &before); err == nil {
			sameShape(t, before, after)
		}
	})
}

func sameShape(t *testing.T, before, after any) {
	t.Helper()
	switch b := before.(type) {
	case map[string]any:
		a, _ := after.(map[string]any)
		if len(a) != len(b) {
			t.Fatalf("%v becomes %v", before, after)
		}
		for name := range b {
			sameShape(t, b[name], a[name])
		}
	case []any:
		a, _ := after.([]any)
		if len(a) != len(b) {
			t.Fatalf("%v becomes %v", before, after)
		}
		for i := range b {
			sameShape(t, b[i], a[i])
		}
	case string:
		if _, ok := after.(string); !ok {
			t.Fatalf("%v becomes %v", before, after)
		}
	default:
		if before != after {
			t.Fatalf("%v becomes %v", before, after)
		}
	}
}
