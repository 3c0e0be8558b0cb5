package postfix_dovecot

import (
	"context"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

var _ mail.DomainStore = (*System)(nil)

// domainFiles returns the maps of virtual_mailbox_domains, and the names that stand
// in main.cf itself.
func (s *System) domainFiles(ctx context.Context) (files []*mapFile, listed []string, err error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	maps := *l
	maps.postfix = map[string]string{}
	for _, word := range splitList(l.postfix["virtual_mailbox_domains"]) {
		if strings.Contains(word, ":") || strings.HasPrefix(word, "/") {
			maps.postfix["virtual_mailbox_domains"] += " " + word
		} else {
			listed = append(listed, strings.ToLower(word))
		}
	}
	files, err = s.mapFiles(ctx, &maps, "virtual_mailbox_domains")
	return files, listed, err
}

// Accepts implements [mail.DomainStore].
func (s *System) Accepts(ctx context.Context, domain string) (bool, error) {
	files, listed, err := s.domainFiles(ctx)
	if err != nil {
		return false, err
	}
	return slices.Contains(listed, domain) || slices.ContainsFunc(files, func(f *mapFile) bool {
		_, found := f.find(domain)
		return found
	}), nil
}

// listScript edits the list in main.cf by Postfix' own means (a rename).
const listScript = `
set -eu
list=$(postconf -h virtual_mailbox_domains)
case $2 in
add) postconf -e "virtual_mailbox_domains = ${list:+$list, }$1" ;;
remove) postconf -e "virtual_mailbox_domains = $(printf '%s' "$list" | tr ', ' '\n\n' | grep -vxF "$1" | grep . | paste -s -d ' ')" ;;
esac
postfix reload >/dev/null 2>&1
`

// PutDomain implements [mail.DomainStore].
func (s *System) PutDomain(ctx context.Context, op, domain string, accept bool) error {
	files, listed, err := s.domainFiles(ctx)
	if err != nil {
		return err
	}
	if accept && len(files) > 0 {
		if !slices.Contains(listed, domain) && !slices.ContainsFunc(files, func(f *mapFile) bool { _, found := f.find(domain); return found }) {
			files[0].set(domain, "ok")
		}
		return s.write(ctx, op, files...)
	}
	inList := slices.Contains(listed, domain)
	if inList != accept {
		word := "add"
		if !accept {
			word = "remove"
		}
		if _, err := s.runner.Run(ctx, remote.Command{Name: "edit virtual_mailbox_domains", Script: listScript, Args: []string{domain, word}}); err != nil {
			return refusal(err)
		}
		s.Refresh()
	}
	if accept {
		return nil
	}
	for _, f := range files {
		f.set(domain, "")
	}
	return s.write(ctx, op, files...)
}
