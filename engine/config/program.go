package config

import (
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
)

// A Program is a Config that returns plain errors, as the engine's flow wants
// it: what is wrong with a file was reported by [Load] already, with warnings, so
// what can still go wrong are values that were observed.
type Program struct{ *Config }

// Desired is [Config.Desired].
func (p Program) Desired(at plan.Position) (map[string]plan.World, error) {
	worlds, diags := p.Config.Desired(at)
	return worlds, diags.Err()
}

// Gates is [Config.Gates].
func (p Program) Gates(at plan.Position, clock, phase string, observed map[string]cty.Value, now time.Time) ([]plan.Reading, error) {
	readings, diags := p.Config.Gates(at, clock, phase, observed, now)
	return readings, diags.Err()
}

// Outputs is [Config.Outputs].
func (p Program) Outputs(at plan.Position, observed map[string]cty.Value) ([]Output, error) {
	outputs, diags := p.Config.Outputs(at, observed)
	return outputs, diags.Err()
}
