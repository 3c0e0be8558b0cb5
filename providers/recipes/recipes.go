// Package recipes holds the migrations that come with mailmove, as modules of the
// configuration language: source = "std/NAME". They are plain HCL; read them.
//
//	live   accounts are handed over one by one while mail flows and users work
package recipes

import "embed"

// FS has a folder for each recipe.
//
//go:embed */*.mm.hcl
var FS embed.FS
