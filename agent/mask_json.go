package agent

import (
	"bytes"
	"encoding/json"

	"wherry/mask"
	"wherry/platform"
)

// unmaskedFields are those of the trace API that say which thing is meant, and where its files are. What stands in them comes from
// the launch and from Nextflow's own numbers; a masked one would lose the task, or what the portal knows of it.
var unmaskedFields = map[string]bool{"id": true, "workflowId": true, "sessionId": true, "runName": true, "status": true, "hash": true,
	"workdir": true, "workDir": true, "launchDir": true}

// maskJSON masks the strings in a JSON text, but not the names of fields.
func maskJSON(m *mask.Mask, text []byte) []byte {
	var out []byte
	from, field := 0, "" // the last name of a field
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		end := endOfString(text, i)
		quoted := text[i:end]
		if rest := bytes.TrimLeft(text[end:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
			field = string(quoted[1 : len(quoted)-1])
		} else if !unmaskedFields[field] {
			if hidden := maskQuoted(m, quoted); hidden != nil {
				out = append(append(out, text[from:i]...), hidden...)
				from = end
			}
		}
		i = end - 1
	}
	if from == 0 {
		return text
	}
	return append(out, text[from:]...)
}

// endOfString is where a string in JSON that begins at i has ended.
func endOfString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// maskQuoted masks a string as it stands in JSON. It returns nil where there is nothing to mask.
func maskQuoted(m *mask.Mask, quoted []byte) []byte {
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return nil
	}
	hidden := m.Text(text)
	if hidden == text {
		return nil
	}
	return mustJSON(hidden)
}

// maskEnd masks what a report of the end says.
func maskEnd(m *mask.Mask, end platform.EndReport) platform.EndReport {
	end.Reason, end.ErrorReport = m.Text(end.Reason), m.Text(end.ErrorReport)
	return end
}
