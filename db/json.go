package db

import (
	"encoding/json"
	"fmt"
)

// jsonColumn scans a text column into v; empty text leaves it as it is.
type jsonColumn struct{ v any }

func (c jsonColumn) Scan(src any) error {
	s, ok := src.(string)
	if !ok {
		return fmt.Errorf("JSON column holds %T", src)
	}
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), c.v)
}

// toJSON is for our own types, which always marshal.
func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshalling %T: %v", v, err))
	}
	return string(b)
}
