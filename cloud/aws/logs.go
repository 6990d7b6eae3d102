package aws

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"wherry/cloud/aws/logevent"
	"wherry/platform"
)

// maxStreamed bounds how many bytes of one log are read back at once.
const maxStreamed = 16 << 20

// streamed reads what CloudWatch has of a log from a byte offset on, without gap or repeat, and whether it has more. No group
// or stream is no log.
func (a *AWS) streamed(ctx context.Context, env platform.ComputeEnv, runID string, stream platform.LogStream, from int64) (text []byte, more bool, err error) {
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return nil, false, err
	}
	client := cloudwatchlogs.NewFromConfig(cfg)
	in := &cloudwatchlogs.GetLogEventsInput{LogGroupName: awssdk.String(env.LogGroup()), LogStreamName: awssdk.String(logevent.Stream(runID, stream)),
		StartFromHead: awssdk.Bool(true)}
	log := assembly{next: from, early: map[int64][]byte{}}
	for len(log.text) < maxStreamed {
		out, err := client.GetLogEvents(ctx, in)
		if hasCode(err, "ResourceNotFoundException") {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, translate(err)
		}
		log.addAll(out.Events)
		// The end of a stream is where the token for going on does not change; before it, an answer may have no events
		// (API reference, GetLogEvents).
		next := awssdk.ToString(out.NextForwardToken)
		if next == "" || next == awssdk.ToString(in.NextToken) {
			return log.text, false, nil
		}
		in.NextToken = &next
	}
	return log.text, true, nil
}

// assembly puts pieces of a log together. CloudWatch gives events of the same millisecond in any order, and an agent that was
// not sure sends some again.
type assembly struct {
	next  int64 // the offset of the byte that is wanted next
	text  []byte
	early map[int64][]byte // pieces that came before what they follow
}

func (a *assembly) addAll(events []types.OutputLogEvent) {
	for _, e := range events {
		event, err := logevent.Decode(awssdk.ToString(e.Message))
		if err != nil {
			continue // somebody else wrote into the stream
		}
		offset, raw := event.Offset, event.Text
		if offset > a.next {
			if len(raw) > len(a.early[offset]) {
				a.early[offset] = raw
			}
			continue
		}
		a.add(offset, raw)
		a.addEarly()
	}
}

// add appends what is new of a piece that begins at or before the wanted byte.
func (a *assembly) add(offset int64, raw []byte) {
	if known := a.next - offset; known < int64(len(raw)) {
		a.text = append(a.text, raw[known:]...)
		a.next = offset + int64(len(raw))
	}
}

// addEarly adds pieces whose turn has come.
func (a *assembly) addEarly() {
	for added := true; added; {
		added = false
		for offset, raw := range a.early {
			if offset <= a.next {
				a.add(offset, raw)
				delete(a.early, offset)
				added = true
			}
		}
	}
}
