package main

import (
	"io/fs"
	"maps"
	"slices"

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

// confirmations are those that the state at a path records.
type confirmations string

// Confirmations implements [operator.Confirmations].
func (path confirmations) Confirmations() (map[string]operator.Confirmation, error) {
	s, err := state.NewFile(string(path)).Load()
	if err != nil || s == nil {
		return nil, err
	}
	recorded := make(map[string]operator.Confirmation, len(s.Confirmations))
	for title, c := range s.Confirmations {
		recorded[title] = operator.Confirmation{By: c.By, At: c.At}
	}
	return recorded, nil
}

// modules returns the modules that ship with mailmove: source = "std/NAME".
func modules() fs.FS { return recipes.FS }
