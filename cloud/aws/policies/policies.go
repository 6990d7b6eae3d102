// Package policies has the IAM policies that are published with Wherry.
package policies

import (
	"embed"
	"fmt"
)

//go:embed *.json
var files embed.FS

// Credentials are the policies that credentials need, the optional one too, in JSON.
func Credentials() (documents []string) {
	for _, name := range []string{"create", "validate", "launch", "delete", "read-optional"} {
		text, err := files.ReadFile(name + ".json")
		if err != nil {
			panic(fmt.Sprintf("the policy %s is embedded: %v", name, err))
		}
		documents = append(documents, string(text))
	}
	return documents
}
