package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
)

// When tells at which moment of a call a fault happens.
type When int

const (
	None   When = iota // None is no fault.
	Before             // Before the call has had any effect.
	After              // After the call has had its effect; its answer is thrown away.
)

// FaultKind tells what the client meets.
type FaultKind int

const (
	ErrorAnswer FaultKind = iota // ErrorAnswer is an error in the form of the service that was called.
	Hang                         // Hang is no answer until the client gives up or the test ends.
	Drop                         // Drop is a connection that closes without an answer.
)

// Fault is what becomes of a call. The zero Fault lets it pass.
type Fault struct {
	When When
	Kind FaultKind
	// Code, Status and Message are of an ErrorAnswer. The codes Throttling and AccessDenied become what the called service
	// says for them, and an empty Status what goes with the code there. USER in the message becomes the caller's ARN.
	Code    string
	Status  int
	Message string
}

// Throttle is the answer to too many calls.
func Throttle() Fault {
	return Fault{When: Before, Code: "Throttling", Message: "Rate exceeded"}
}

// Denied is the answer to a call for which an action is missing in the caller's policies. AWS names no resource for actions
// that have none: then it is empty here.
func Denied(action, resource string) Fault {
	message := "User: USER is not authorized to perform: " + action
	if resource != "" {
		message += " on resource: " + resource
	}
	if action != "sts:AssumeRole" { // AWS does not tell whether the caller's policies or the role's are at fault
		message += " because no identity-based policy allows the " + action + " action"
	}
	return Fault{When: Before, Code: "AccessDenied", Message: message}
}

// Lost is a call that has its effect, of which the client hears nothing.
func Lost() Fault { return Fault{When: After, Kind: Drop} }

// spelling is what services say for the two codes that each of them spells differently, and the status that goes with it.
var spelling = map[string]map[string]struct {
	code   string
	status int
}{
	"Throttling": {
		"ec2": {"RequestLimitExceeded", 503}, "s3": {"SlowDown", 503}, "logs": {"ThrottlingException", 400},
		"iam": {"Throttling", 400}, "sts": {"Throttling", 400},
	},
	"AccessDenied": {
		"ec2": {"UnauthorizedOperation", 403}, "s3": {"AccessDenied", 403}, "logs": {"AccessDeniedException", 400},
		"iam": {"AccessDenied", 403}, "sts": {"AccessDenied", 403},
	},
}

// answer is what the proxy gives the client.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// answer writes the fault as the called service would. The caller is the ARN of who called.
func (f Fault) answer(c Call, caller string) answer {
	code, status := f.Code, cmp.Or(f.Status, http.StatusBadRequest)
	if s := spelling[code][c.Service]; s.code != "" {
		code, status = s.code, cmp.Or(f.Status, s.status)
	}
	message := strings.ReplaceAll(f.Message, "USER", caller)
	if code == "UnauthorizedOperation" {
		message = unauthorized(c, message)
	}
	kind, body := document(c.Service, code, message)
	return answer{status, http.Header{"Content-Type": {kind}}, []byte(body)}
}

// unauthorized is a refusal in the words of EC2, which for what does not only read adds a long unreadable part.
func unauthorized(c Call, message string) string {
	message = "You are not authorized to perform this operation. " + message
	if !strings.HasPrefix(c.Operation, "Describe") {
		message += ". Encoded authorization failure message: " + strings.Repeat("nQ0Lx-8Uk_", 60)
	}
	return message
}

const requestID = "00000000-0000-4000-8000-000000000000"

// document is the content type and the body of an error.
func document(service, code, message string) (string, string) {
	switch service {
	case "ec2":
		return "text/xml;charset=UTF-8", fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>",
			escape(code), escape(message), requestID)
	case "s3":
		return "application/xml", fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>%s</RequestId></Error>",
			escape(code), escape(message), requestID)
	case "logs":
		text, _ := json.Marshal(map[string]string{"__type": code, "message": message})
		return "application/x-amz-json-1.1", string(text)
	default:
		return "text/xml", fmt.Sprintf("<ErrorResponse xmlns=%q><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
			namespaces[service], escape(code), escape(message), requestID)
	}
}

var namespaces = map[string]string{"iam": "https://iam.amazonaws.com/doc/2010-05-08/", "sts": "https://sts.amazonaws.com/doc/2011-06-15/"}

func escape(text string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(text))
	return b.String()
}
