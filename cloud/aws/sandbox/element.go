package sandbox

import "encoding/xml"

// element is a part of an XML answer that is read, changed and written again.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []*element `xml:",any"`
}

// parseElement reads a document. Names lose their namespace; the root keeps it as an attribute.
func parseElement(text []byte) (*element, error) {
	var root element
	if err := xml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	root.plain()
	return &root, nil
}

func (e *element) plain() {
	e.XMLName.Space = ""
	for _, c := range e.Children {
		c.plain()
	}
}

// bytes writes the document.
func (e *element) bytes() ([]byte, error) {
	text, err := xml.Marshal(e)
	return append([]byte(xml.Header), text...), err
}

// child is the element at a path below this one; nil where there is none.
func (e *element) child(path ...string) *element {
	for _, name := range path {
		if e == nil {
			return nil
		}
		var found *element
		for _, c := range e.Children {
			if c.XMLName.Local == name {
				found = c
				break
			}
		}
		e = found
	}
	return e
}

// text is what an element at a path says; empty where there is none.
func (e *element) text(path ...string) string {
	if found := e.child(path...); found != nil {
		return found.Text
	}
	return ""
}

// set makes an element at a path say something, and makes it where it is not there.
func (e *element) set(text string, path ...string) {
	for _, name := range path {
		next := e.child(name)
		if next == nil {
			next = &element{XMLName: xml.Name{Local: name}}
			e.Children = append(e.Children, next)
		}
		e = next
	}
	e.Text = text
}

// items are the elements of a list.
func (e *element) items(path ...string) []*element {
	if found := e.child(path...); found != nil {
		return found.Children
	}
	return nil
}
