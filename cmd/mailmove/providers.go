package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v3"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/view"
	"github.com/mailmove/mailmove/providers"
)

// providersCommand shows what there is to configure.
func (a *app) providersCommand() *cli.Command {
	return &cli.Command{
		Name:      "providers",
		Usage:     "list providers, their resource types and attributes",
		ArgsUsage: "[PROVIDER | RESOURCE-TYPE]",
		Flags:     []cli.Flag{a.jsonFlag("the same as mailmove providers schema")},
		Commands: []*cli.Command{{
			Name: "schema", Usage: "print all schemas as JSON",
			Flags:  []cli.Flag{a.jsonFlag("as always")},
			Action: func(context.Context, *cli.Command) error { return a.ui.object(schemas()) },
		}},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := atMost(cmd, 1); err != nil {
				return err
			}
			if a.json {
				return a.ui.object(schemas())
			}
			return a.ui.write(func(w io.Writer) error { return writeProviders(&lines{w: w}, cmd.Args().First(), a.ui.color) })
		},
	}
}

// writeProviders lists all providers, or what is known of one name.
func writeProviders(out *lines, name string, color bool) error {
	all := registry(nil)
	found := false
	types := map[string]bool{} // shown already: providers of one kind share them
	for _, typ := range all.Types() {
		schema, _ := all.Schema(typ)
		if name == "" || name == typ {
			found = true
			out.add("%s  (kind %s)  %s", view.Paint(color, "1", fmt.Sprintf("provider %q", typ)), schema.Kind, schema.Doc)
			out.attributes(schema.Config, "    ")
			out.add("  resource types:")
		}
		for _, resource := range sortedKeys(schema.Resources) {
			switch {
			case name == resource && !types[resource]:
				found = true
				types[resource] = true
				out.add("%s  %s", view.Paint(color, "1", "resource "+resource), schema.Resources[resource].Doc)
				out.attributes(schema.Resources[resource].Attributes, "    ")
			case name == "" || name == typ:
				out.add("    %-20s %s", resource, schema.Resources[resource].Doc)
			}
		}
		if name == "" {
			out.add("")
		}
	}
	if !found {
		return hint(fmt.Errorf("there is no provider and no resource type %q", name), "mailmove providers lists them.")
	}
	return out.err
}

func (l *lines) attributes(attrs providers.Attributes, indent string) {
	for _, name := range attrs.Names() {
		attr := attrs[name]
		l.add("%s%-18s %-16s %s%s", indent, name, typeName(attr), necessity(attr), attr.Doc)
		if attr.Block {
			l.attributes(attr.Nested, indent+"    ")
		}
	}
}

func typeName(attr providers.Attribute) string {
	switch {
	case attr.Block:
		return "block"
	case attr.System != "":
		return "provider(" + attr.System + ")"
	case attr.Type.Equals(providers.SecretType):
		return "secret"
	}
	return attr.Type.FriendlyNameForConstraint()
}

func necessity(attr providers.Attribute) string {
	switch {
	case attr.Required:
		return "required. "
	case attr.Computed:
		return "known by observing. "
	case attr.Default != cty.NilVal && attr.Default.Type() == cty.String && !attr.Default.IsNull():
		return fmt.Sprintf("default %q. ", attr.Default.AsString())
	}
	return "optional. "
}

// The schemas for programs.
type (
	providerLine struct {
		Kind      string                   `json:"kind"`
		Doc       string                   `json:"doc"`
		Config    map[string]attributeLine `json:"config"`
		Resources map[string]resourceLine  `json:"resources"`
	}
	resourceLine struct {
		Doc        string                   `json:"doc"`
		Permanent  bool                     `json:"permanent,omitempty"`
		Recurring  bool                     `json:"recurring,omitempty"`
		Attributes map[string]attributeLine `json:"attributes"`
	}
	attributeLine struct {
		Type     string                   `json:"type"`
		Required bool                     `json:"required,omitempty"`
		Computed bool                     `json:"computed,omitempty"`
		Identity bool                     `json:"identity,omitempty"`
		Doc      string                   `json:"doc,omitempty"`
		Nested   map[string]attributeLine `json:"nested,omitempty"`
	}
)

func schemas() map[string]providerLine {
	all := registry(nil)
	out := map[string]providerLine{}
	for _, typ := range all.Types() {
		schema, _ := all.Schema(typ)
		line := providerLine{schema.Kind, schema.Doc, attributeLines(schema.Config), map[string]resourceLine{}}
		for name, r := range schema.Resources {
			line.Resources[name] = resourceLine{r.Doc, r.Permanent, r.Recurring, attributeLines(r.Attributes)}
		}
		out[typ] = line
	}
	return out
}

func attributeLines(attrs providers.Attributes) map[string]attributeLine {
	out := map[string]attributeLine{}
	for name, attr := range attrs {
		line := attributeLine{Type: typeName(attr), Required: attr.Required, Computed: attr.Computed, Identity: attr.Identity, Doc: attr.Doc}
		if attr.Block {
			line.Nested = attributeLines(attr.Nested)
		}
		out[name] = line
	}
	return out
}
