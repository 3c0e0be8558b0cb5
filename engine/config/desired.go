package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/mailmove/mailmove/engine/plan"
)

// Desired returns what shall exist with every clock standing at its position: a
// world for each clock, by its path. A resource belongs to the nearest enclosing
// module instance that has phases. A clock that stands before its first phase
// has an empty world.
//
// DependsOn of a resource names what it depends on in worlds of all clocks, whether
// that exists at that position or not: what has just left its phase goes after what
// depended on it has changed. Values are not in a resource type's normal form yet
// (providers.Normalizer), but for that they are complete.
func (c *Config) Desired(at plan.Position) (map[string]plan.World, Diagnostics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	standing, diags := c.stand(at)
	if diags.HasErrors() {
		return nil, c.report(diags)
	}
	worlds, diags := c.desired(standing)
	return worlds, c.report(diags)
}

// stand turns phase names into indexes; -1 is before the first phase.
func (c *Config) stand(at plan.Position) (map[*clock]int, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	standing := make(map[*clock]int, len(c.clocks))
	for _, k := range c.clocks {
		standing[k] = -1
		name := at[k.path]
		i := slices.IndexFunc(k.phases, func(p *phase) bool { return p.name == name })
		switch {
		case i >= 0:
			standing[k] = i
		case name != "":
			var known []string
			for _, p := range k.phases {
				known = append(known, p.name)
			}
			diags = append(diags, fault(nil, "Unknown phase", "The migration stands in phase %q of %s, but the configuration has no such phase.%s If it was renamed, say so: moved { from = phase.%s, to = phase.NEW }.", name, clockName(k.path), didYouMean(name, known), name))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(at)) {
		if c.clockAt[path] == nil && at[path] != "" {
			diags = append(diags, fault(nil, "Unknown module", "The migration stands in phase %q of %s, but the configuration has no phases there.%s If the module was renamed, say so with a moved block.", at[path], clockName(path), didYouMean(path, names(c.clockAt))))
		}
	}
	return standing, diags
}

func (c *Config) desired(standing map[*clock]int) (map[string]plan.World, hcl.Diagnostics) {
	e := c.evaluator(standing)
	f := e.begin(node{})
	objects := map[*clock][]*object{}
	for _, in := range c.instances {
		for _, name := range names(in.module.variables) {
			e.variable(in, name)
		}
		if standing[in.clock] < 0 {
			continue
		}
		for _, key := range names(in.module.resources) {
			b := in.module.resources[key]
			if !e.exists(in, b) {
				continue
			}
			objects[in.clock] = append(objects[in.clock], e.block(in, b).objects...)
		}
	}
	e.distinct(objects)
	worlds := make(map[string]plan.World, len(c.clocks))
	for _, k := range c.clocks {
		world := make(plan.World, 0, len(objects[k]))
		for _, o := range objects[k] {
			world = append(world, o.Resource)
		}
		slices.SortFunc(world, func(a, b plan.Resource) int { return strings.Compare(a.Address, b.Address) })
		worlds[k.path] = world
	}
	return worlds, f.diags
}

// distinct reports two resources that are the same object.
func (e *evaluator) distinct(objects map[*clock][]*object) {
	seen := map[string]*object{}
	for _, k := range e.config.clocks {
		for _, o := range objects[k] {
			if o.identity == "" {
				continue
			}
			if before := seen[o.identity]; before != nil {
				e.add(fault(&o.rng, "The same object twice", "%s is the same object as %s (%s): %s of %s. Declare it once.", o.Address, before.Address, before.Where, identityWords(o), o.Provider))
				continue
			}
			seen[o.identity] = o
		}
	}
}

// identityWords says for people which object o is.
func identityWords(o *object) string {
	parts := strings.SplitN(o.identity, "|", 3)
	return fmt.Sprintf("%s %s", o.Type, strings.ReplaceAll(parts[2], "|", " "))
}

// validate evaluates everything in every phase: each clock in each of its
// phases, together with the others in their phases of the same number; and gates,
// checks and outputs with nothing observed, so that an error in a gate is found
// now and not at three in the morning.
func (c *Config) validate() hcl.Diagnostics {
	var all hcl.Diagnostics
	memory := map[node][]*remembered{} // with nothing observed
	longest := 0
	for _, k := range c.clocks {
		longest = max(longest, len(k.phases))
	}
	for i := range max(longest, 1) {
		standing := map[*clock]int{}
		for _, k := range c.clocks {
			standing[k] = min(i, len(k.phases)-1)
		}
		_, diags := c.desired(standing)
		all = append(all, diags...)
		if !diags.HasErrors() {
			all = append(all, c.unobserved(standing, memory)...)
		}
	}
	return all
}

// unobserved evaluates what looks at observed objects, before any was, and what
// nothing else refers to. memory is shared by all phases.
func (c *Config) unobserved(standing map[*clock]int, memory map[node][]*remembered) hcl.Diagnostics {
	e := c.observing(standing, nil)
	e.memory = memory
	f := e.begin(node{})
	for _, k := range c.clocks {
		// Those before the phase that comes next, and before the first.
		for _, p := range k.phases {
			if p.index == standing[k]+1 || p.index == 0 {
				e.gates(p, time.Time{})
			}
		}
	}
	for _, in := range c.instances {
		for _, name := range names(in.module.locals) {
			e.attempt(node{in, "local value ", name}, func() { e.local(in, name) })
		}
		for _, name := range names(in.module.outputs) {
			e.attempt(node{in, "output ", name}, func() { e.output(in, name) })
		}
	}
	e.checks()
	e.shown()
	return f.diags
}
