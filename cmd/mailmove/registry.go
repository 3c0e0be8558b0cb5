package main

import (
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns/rfc2136"
	"github.com/mailmove/mailmove/providers/mail/embedded"
	"github.com/mailmove/mailmove/providers/mail/postfix_dovecot"
	"github.com/mailmove/mailmove/providers/operator"
	"github.com/mailmove/mailmove/providers/recipes"
)

// providerTypes are the providers by type.
type providerTypes map[string]providers.Provider

// registry lists all providers there are. steps are what people have confirmed to
// have done; nil is nothing.
func registry(steps operator.Confirmations) providerTypes {
	return providerTypes{
		"embedded":        embedded.Provider{},
		"operator":        operator.New(steps),
		"postfix_dovecot": postfix_dovecot.Provider{},
		rfc2136.Name:      rfc2136.Provider{},
	}
}

// Schema implements [config.Schemas].
func (t providerTypes) Schema(name string) (providers.Schema, bool) {
	p, ok := t[name]
	if !ok {
		return providers.Schema{}, false
	}
	return p.Schema(), true
}

// Types implements [config.Schemas].
func (t providerTypes) Types() []string { return slices.Sorted(maps.Keys(t)) }

// confirmations are those that a state records. They are read once: during a turn
// nobody else writes.
type confirmations struct {
	path string
	once sync.Once
	read map[string]state.Confirmation
}

// Confirmation implements [operator.Confirmations]. A state that cannot be read is
// for the engine to report.
func (c *confirmations) Confirmation(title string) (operator.Confirmation, bool) {
	c.once.Do(func() {
		if s, err := state.NewFile(c.path).Load(); err == nil && s != nil {
			c.read = s.Confirmations
		}
	})
	found, ok := c.read[title]
	return operator.Confirmation{By: found.By, At: found.At}, ok
}

// modules returns the modules that ship with mailmove: source = "std/NAME".
func modules() fs.FS { return recipes.FS }
