package instance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// imageMarker says what is in the image that the instance was booted from, where it was made by a recipe of `wherry image`.
const imageMarker = "etc/wherry/image.json"

// Nextflow tells the command and the home of the Nextflow that the image has. Both are empty where it has none that can be
// run. An error says what is wrong with the marker; the machine works without it.
func (i *Instance) Nextflow() (command, home string, err error) {
	text, err := os.ReadFile(filepath.Join(i.root, "/", imageMarker))
	if os.IsNotExist(err) {
		return "", "", nil
	}
	var marker struct{ NextflowCommand, NextflowHome string }
	if err == nil {
		err = json.Unmarshal(text, &marker)
	}
	if err != nil {
		return "", "", fmt.Errorf("the image's marker cannot be read: %w", err)
	}
	if info, err := os.Stat(marker.NextflowCommand); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", "", nil
	}
	return marker.NextflowCommand, marker.NextflowHome, nil
}
