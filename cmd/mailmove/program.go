package main

import (
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/plan"
)

// program is a configuration as the engine wants it: with plain errors.
type program struct{ *config.Config }

var _ engine.Program = program{}

// Desired implements [engine.Program].
func (p program) Desired(at plan.Position) (map[string]plan.World, error) {
	worlds, diags := p.Config.Desired(at)
	return worlds, diags.Err()
}

// Gates implements [engine.Program].
func (p program) Gates(at plan.Position, clock, phase string, observed map[string]cty.Value, now time.Time) ([]plan.Reading, error) {
	readings, diags := p.Config.Gates(at, clock, phase, observed, now)
	return readings, diags.Err()
}

// Outputs implements [engine.Program].
func (p program) Outputs(at plan.Position, observed map[string]cty.Value) ([]config.Output, error) {
	outputs, diags := p.Config.Outputs(at, observed)
	return outputs, diags.Err()
}

// Checks implements [engine.Program].
func (p program) Checks(at plan.Position, observed map[string]cty.Value) ([]config.CheckResult, error) {
	results, diags := p.Config.Checks(at, observed)
	return results, diags.Err()
}
