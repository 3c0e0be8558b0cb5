package config

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// MoveKind says what a moved block renames.
type MoveKind string

const (
	// MoveResource renames a resource block, or one object of it.
	MoveResource MoveKind = "resource"
	// MoveModule renames a module block, or one instance of it.
	MoveModule MoveKind = "module"
	// MovePhase renames a phase.
	MovePhase MoveKind = "phase"
)

// A Move says that something in the state has another name now.
type Move struct {
	Kind MoveKind
	// Clock is, for a phase, the path of its clock.
	Clock string
	// From and To are addresses, or for a phase names.
	From, To string
	// Where is file:line of the block.
	Where string
}

// Apply returns the new address of a resource or module instance at address, and
// whether the move concerns it: From itself, its objects, and for a module
// what is in it.
func (m Move) Apply(address string) (string, bool) {
	if m.Kind == MovePhase {
		return address, false
	}
	rest, ok := strings.CutPrefix(address, m.From)
	if !ok || rest != "" && rest[0] != '[' && rest[0] != '.' {
		return address, false
	}
	return m.To + rest, true
}

// Moves returns the moved blocks of all module instances, in the order in which
// they stand.
func (c *Config) Moves() []Move {
	var out []Move
	for _, in := range c.instances {
		for _, b := range in.module.moves {
			one := Move{Kind: b.kind, From: join(in.path, b.from), To: join(in.path, b.to), Where: where(b.rng)}
			if b.kind == MovePhase {
				one.Clock = in.clock.path
				one.From, one.To = strings.TrimPrefix(b.from, "phase."), strings.TrimPrefix(b.to, "phase.")
			}
			out = append(out, one)
		}
	}
	return out
}

// moveKind says what a reference in a moved block names, "" if nothing that can
// move.
func moveKind(traversal hcl.Traversal) MoveKind {
	if len(traversal) < 2 {
		return ""
	}
	keyed := len(traversal) == 3
	if keyed {
		if _, ok := traversal[2].(hcl.TraverseIndex); !ok {
			return ""
		}
	}
	if _, ok := traversal[1].(hcl.TraverseAttr); !ok || len(traversal) > 3 {
		return ""
	}
	switch traversal.RootName() {
	case "phase":
		if keyed {
			return ""
		}
		return MovePhase
	case "module":
		return MoveModule
	case "var", "local", "provider", "each":
		return ""
	}
	return MoveResource
}
