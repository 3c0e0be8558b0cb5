// Package config reads the language: files *.mm.hcl to what shall exist in each
// phase. docs/language.md is the language's reference; this is the manual of the
// package. It is the only one that knows hcl.
//
//	c, diags := config.Load(config.Options{Dir: ".", Modules: recipes, Schemas: schemas})
//	if diags.HasErrors() {
//		return diags.WriteTo(os.Stderr, true, 80)
//	}
//	worlds, diags := c.Desired(plan.Position{"module.example_com": "cutover"})
//
// # Words
//
// A module is the content of a folder; an instance is one use of it, with inputs.
// A block is a resource block; an object is what it declares, one for each key of
// for_each. A clock is the chain of phases of one instance; objects belong to the
// clock of the nearest instance around them that has phases. A position says in
// which phase each clock stands.
//
// # Promises
//
// Reading and evaluating have no effects: no program is run, no connection is
// opened, no secret is read. Everything is a function of the files, the
// variables, the position, what was observed and the moment, all of which are
// given; equal arguments give equal results, in the same order. Files are read by
// Load, and by file() once.
//
// No type of hcl leaves the package, no sensitive value leaves it in a message,
// and what is written to a terminal cannot steer it.
//
// # How it works
//
// Reading is done in three steps. The decoder (decoder.go, declare.go, phases.go)
// turns blocks into descriptions and checks all that can be checked without
// values: words, names, references (references.go), the chain of phases. Then the
// instances of modules and their clocks are made (instance.go). What remains is
// evaluated on demand (evaluate.go, scope.go, resource.go): a value is computed
// when something refers to it, which also finds cycles, and it is remembered
// together with the answers of reached() that went into it. At another position
// it is computed anew only if one of those answers is another.
//
// Where a value comes from travels with it as marks (marks.go). From the marks of
// an argument follow the resources it depends on, through locals, inputs and
// outputs alike; that it is sensitive; and that it can be known only by
// observing, which is an error in an argument and the normal case in a gate. The
// marks are taken off in one place (assignment.go).
//
// # Observed values
//
// In gates, checks and outputs a reference to a resource gives the object as it
// was observed (observed.go). What nobody has looked at yet is unknown, so a gate
// that asks for it is closed and says so; the attributes of an object that does
// not exist are null.
package config
