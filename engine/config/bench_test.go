package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mailmove/mailmove/engine/plan"
)

// manyBoxes is a recipe of eight objects an account over five phases, of which
// one differs between phases and one exists in some only.
func manyBoxes(accounts int) string {
	var b strings.Builder
	b.WriteString(`-- main.mm.hcl --
provider "shelf" "old" { address = "198.51.100.10" }
provider "shelf" "new" { address = "198.51.100.20" }
module "m" {
  source   = "std/many"
  old      = provider.shelf.old
  new      = provider.shelf.new
  accounts = {
`)
	for i := range accounts {
		fmt.Fprintf(&b, "    user%06d = { quota = %d, labels = [\"a%d\", \"b%d\"] }\n", i, i, i, i)
	}
	b.WriteString("  }\n}\n-- std/many/main.mm.hcl --\n")
	b.WriteString(`
variable "old" { type = provider(store) }
variable "new" { type = provider(store) }
variable "accounts" { type = map(object({ quota = optional(number), labels = optional(list(string), []) })) }
phase "p0" {}
phase "p1" { after = phase.p0 }
phase "p2" { after = phase.p1 }
phase "p3" { after = phase.p2 }
phase "p4" { after = phase.p3 }
`)
	for i := range 6 {
		fmt.Fprintf(&b, `
resource "box" "b%d" {
  provider = var.new
  for_each = var.accounts
  name     = "${each.key}-%d"
  size     = each.value.quota
  labels   = concat(each.value.labels, ["x"])
}
`, i, i)
	}
	b.WriteString(`
resource "box_copy" "c" {
  provider = var.old
  for_each = var.accounts
  name     = box.b0[each.key].name
  to       = var.new
  limits { rate = each.value.quota }
  lifecycle {
    from  = phase.p1
    until = phase.p4
  }
}
resource "box" "phased" {
  provider   = var.old
  for_each   = var.accounts
  name       = each.key
  size       = reached(phase.p3) ? 1 : each.value.quota
  depends_on = [box_copy.c[each.key]]
}
`)
	return b.String()
}

// BenchmarkDesired evaluates five phases of 2,000 accounts with eight objects
// each, from the files on.
func BenchmarkDesired(b *testing.B) {
	archive := manyBoxes(2000)
	b.ReportAllocs()
	for b.Loop() {
		c := must(b, archive)
		for i := range 5 {
			worlds, diags := c.Desired(plan.Position{"module.m": fmt.Sprintf("p%d", i)})
			if diags.HasErrors() {
				b.Fatal(diags)
			}
			if got := len(worlds["module.m"]); got < 14000 {
				b.Fatalf("%d objects", got)
			}
		}
	}
}
