package db

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// auditSides are both sides of an entry as JSON, without what is the same in both.
func auditSides(before, after any) (b, a string, err error) {
	was, err := auditObject(before)
	if err != nil {
		return "", "", err
	}
	is, err := auditObject(after)
	if err != nil {
		return "", "", err
	}
	if was != nil && is != nil {
		leaveEqualOut(was, is)
	}
	return auditJSON(was), auditJSON(is), nil
}

func auditObject(v any) (object map[string]any, err error) {
	if v == nil {
		return nil, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return object, json.Unmarshal(text, &object)
}

// leaveEqualOut takes out of both objects, and of the objects in them, what is the same in both.
func leaveEqualOut(was, is map[string]any) {
	for name, value := range was {
		other, ok := is[name]
		if !ok {
			continue
		}
		if reflect.DeepEqual(value, other) {
			delete(was, name)
			delete(is, name)
			continue
		}
		inWas, isObject := value.(map[string]any)
		inIs, areObjects := other.(map[string]any)
		if isObject && areObjects {
			leaveEqualOut(inWas, inIs)
		}
	}
}

// auditJSON is an object as text. One that is too large is named only.
func auditJSON(object map[string]any) string {
	if object == nil {
		return ""
	}
	text, _ := json.Marshal(object) // it was JSON a moment ago
	if len(text) > maxAuditText {
		return `{"tooLarge":` + strconv.Itoa(len(text)) + `}`
	}
	return string(text)
}
