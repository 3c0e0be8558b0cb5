package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers/dns/zoneserver"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

const largeConfiguration = `
variable "zone_server" {}
variable "old" {}
variable "new" {}

provider "rfc2136" "zone" {
  zone        = "example.com"
  server      = var.zone_server
  nameservers = [var.zone_server]
}

provider "embedded" "old" {
  address = var.old
  token   = secret("env:MAILMOVE_BENCH_TOKEN")
}

provider "embedded" "new" {
  address = var.new
  token   = secret("env:MAILMOVE_BENCH_TOKEN")
}

module "example_com" {
  source = "std/live"

  domain   = "example.com"
  old      = provider.embedded.old
  new      = provider.embedded.new
  zone     = provider.rfc2136.zone
  old_mx   = "old.example.com"
  new_mx   = "new.example.com"
  accounts = { for i in range(%d) : "user${i}" => {} }
  ttl      = { normal = 1, moving = 1 }
  quiet    = "1s"
}
`

// BenchmarkPlan plans the move of a domain with many accounts by the recipe live,
// from reading the files to the text of the plan.
func BenchmarkPlan(b *testing.B) {
	for _, accounts := range []int{200, 2000} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			dir := b.TempDir()
			environ := largeDomain(b, dir, accounts)
			null, err := os.Open(os.DevNull)
			if err != nil {
				b.Fatal(err)
			}
			defer null.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				if code := newApp(null, io.Discard, os.Stderr, environ).run(b.Context(), []string{"mailmove", "-chdir=" + dir, "plan", "-json"}); code != exitOK {
					b.Fatalf("mailmove plan ended with %d", code)
				}
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.Sys)/(1<<20), "MiB-from-system")
		})
	}
}

// BenchmarkApply moves a domain with many accounts by the recipe live, from the first
// turn to the end. Its accounts hold no mail: what is measured is mailmove.
func BenchmarkApply(b *testing.B) {
	for _, accounts := range []int{100, 1000} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			null, err := os.Open(os.DevNull)
			if err != nil {
				b.Fatal(err)
			}
			defer null.Close()
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				environ := largeDomain(b, dir, accounts)
				b.StartTimer()
				if code := newApp(null, io.Discard, io.Discard, environ).run(b.Context(), []string{"mailmove", "-chdir=" + dir, "apply", "-auto-approve", "-wait", "-json"}); code != exitOK {
					b.Fatalf("mailmove apply ended with %d", code)
				}
			}
		})
	}
}

// largeDomain starts servers with the accounts, writes the configuration, and
// returns the environment for it.
func largeDomain(b *testing.B, dir string, accounts int) []string {
	var servers []*server.Server
	for i, name := range []string{"old", "new"} {
		s, err := server.Start(server.NewDisk(), server.Options{Address: fmt.Sprintf("127.0.0.%d", 81+i), Name: name + ".example.com", Token: serverToken})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(s.Stop)
		servers = append(servers, s)
	}
	servers[0].AddDomain("example.com")
	for i := range accounts {
		servers[0].AddAccount(mail.Address(fmt.Sprintf("user%d@example.com", i)), password, 0)
	}
	zone, err := zoneserver.Start(zoneserver.Config{Zones: map[string]string{"example.com.": strings.TrimSpace(`
@ 3600 IN SOA ns1 hostmaster 1 3600 600 86400 300
@ 3600 IN NS ns1
ns1 3600 IN A 198.51.100.53
@ 1 IN MX 10 old
old 3600 IN A 198.51.100.10
new 3600 IN A 198.51.100.20
`) + "\n"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = zone.Close() })
	if err := os.WriteFile(filepath.Join(dir, "move.mm.hcl"), fmt.Appendf(nil, largeConfiguration, accounts), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Setenv("MAILMOVE_BENCH_TOKEN", serverToken) // a secret is read from the process's own environment
	return []string{
		"MAILMOVE_VAR_old=" + servers[0].ControlURL(), "MAILMOVE_VAR_new=" + servers[1].ControlURL(), "MAILMOVE_VAR_zone_server=" + zone.Address(),
	}
}
