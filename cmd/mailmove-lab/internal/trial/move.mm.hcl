mailmove {
  state { path = "move.state.json" }
}

provider "postfix_dovecot" "old" {
  address = "{{.Old}}"
  name    = "{{.OldMX}}"
  ssh { user = "root" }
}

provider "postfix_dovecot" "new" {
  address = "{{.New}}"
  name    = "{{.NewMX}}"
  ssh { user = "admin" }
}

provider "rfc2136" "zone" {
  zone   = "{{.Domain}}"
  server = "{{.Server}}"
  tsig {
    name   = "{{.TSIG.Name}}"
    secret = secret("file:/etc/mailmove/tsig.secret")
  }
}

module "domain" {
  source = "{{.Source}}"

  domain = "{{.Domain}}"
  old    = provider.postfix_dovecot.old
  new    = provider.postfix_dovecot.new
  zone   = provider.rfc2136.zone

  accounts = {
{{- range .Accounts}}
    "{{.Local}}" = {}
{{- end}}
  }

  aliases = {
{{- range .Aliases}}
    "{{.Address}}" = [{{range $i, $m := .Members}}{{if $i}}, {{end}}"{{$m}}"{{end}}]
{{- end}}
  }
  catch_all = [{{range $i, $m := .CatchAll}}{{if $i}}, {{end}}"{{$m}}"{{end}}]

  # The neighbours: users of the system have an address in every domain.
  ignore = ["nora@{{.Domain}}", "nils@{{.Domain}}"]

  old_mx = "{{.OldMX}}"
  new_mx = "{{.NewMX}}"
  services = {
{{- range .Services}}
    "{{.}}.{{$.Domain}}" = { type = "A", old = ["{{$.Old}}"], new = ["{{$.New}}"] }
{{- end}}
  }
  spf = {
    old    = "v=spf1 ip4:{{.Old}} -all"
    moving = "v=spf1 ip4:{{.Old}} ip4:{{.New}} -all"
    new    = "v=spf1 ip4:{{.New}} -all"
  }

  ttl   = { normal = {{.Normal}}, moving = {{.Moving}} }
  quiet = "{{.Quiet}}"

  # Traffic of days comes in seconds here.
  tolerance = 300
}
