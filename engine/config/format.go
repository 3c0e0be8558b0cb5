package config

import (
	"cmp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// Format returns src in the one layout. A file with syntax errors is returned as
// it is.
func Format(filename string, src []byte) ([]byte, Diagnostics) {
	if len(src) > maxFile {
		return src, Diagnostics{{Severity: Error, Summary: "Unreadable file", Detail: "Reading " + filename + ": " + errTooLarge.Error() + "."}}
	}
	c := &Config{parsed: map[string]*hcl.File{filename: {Bytes: src}}}
	if deep := tooDeep(filename, src); deep != nil {
		return src, c.report(hcl.Diagnostics{deep})
	}
	file, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos)
	if diags.HasErrors() {
		if file != nil {
			c.parsed[filename] = file
		}
		return src, c.report(diags)
	}
	return hclwrite.Format(src), nil
}

// Block returns a resource block that declares an object with these values, an
// object of the schema: what a person may add to the configuration. Attributes
// that are null, computed or at their default are left out. What in name cannot
// stand in the name of a block becomes "_".
func Block(typ, name, providerAddress string, schema providers.ResourceSchema, values cty.Value) []byte {
	file := hclwrite.NewEmptyFile()
	body := file.Body().AppendNewBlock("resource", []string{typ, label(name)}).Body()
	if providerAddress != "" {
		body.SetAttributeTraversal("provider", traversalOf(providerAddress))
	}
	writeAttributes(body, schema.Attributes, values)
	return hclwrite.Format(file.Bytes())
}

// label makes a name for a block of any text.
func label(text string) string {
	out := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, text)
	if !hclsyntax.ValidIdentifier(out) {
		out = "x" + out
	}
	return out
}

func writeAttributes(body *hclwrite.Body, schema providers.Attributes, values cty.Value) {
	if values.IsNull() || !values.IsKnown() {
		return
	}
	for _, name := range schema.Names() {
		attr := schema[name]
		if attr.Computed || !values.Type().HasAttribute(name) {
			continue
		}
		v, _ := values.GetAttr(name).UnmarkDeep()
		if v.IsNull() || !v.IsWhollyKnown() || attr.Default != cty.NilVal && v.RawEquals(attr.Default) {
			continue
		}
		switch secret, isSecret := providers.SecretFrom(v); {
		case attr.Block:
			writeAttributes(body.AppendNewBlock(name, nil).Body(), attr.Nested, v)
		case isSecret:
			reference := hclwrite.TokensForValue(cty.StringVal(secret.Reference()))
			body.SetAttributeRaw(name, hclwrite.TokensForFunctionCall("secret", reference))
		case attr.System != "":
			body.SetAttributeTraversal(name, traversalOf(v.AsString()))
		default:
			body.SetAttributeValue(name, v)
		}
	}
}

// traversalOf turns an address without keys into a reference.
func traversalOf(address string) hcl.Traversal {
	words := strings.Split(address, ".")
	traversal := hcl.Traversal{hcl.TraverseRoot{Name: cmp.Or(words[0], "provider")}}
	for _, word := range words[1:] {
		traversal = append(traversal, hcl.TraverseAttr{Name: word})
	}
	return traversal
}
