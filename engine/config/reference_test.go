package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReference reads docs/language.md: its examples are well written, and it
// names the functions that there are.
func TestReference(t *testing.T) {
	data, err := os.ReadFile("../../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	examples := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(examples) < 12 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, example := range examples {
		got, diags := Format("docs/language.md", []byte(example[1]))
		if diags.HasErrors() {
			t.Errorf("%v in\n%s", diags, example[1])
		} else if string(got) != example[1] {
			t.Errorf("formatted it is\n%s", got)
		}
	}
	_, section, _ := strings.Cut(text, "\n## Functions\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var got []string
	for _, found := range regexp.MustCompile("`([a-z0-9]+)\\(").FindAllStringSubmatch(section, -1) {
		got = append(got, found[1])
	}
	got = sortedSet(got)
	want := sortedSet(append(names(functions()), ownFunctions...))
	if !slices.Equal(got, want) {
		t.Errorf("the reference has the functions\n%v, and there are\n%v", got, want)
	}
}
