package mail

import "testing"

func TestHomeOf(t *testing.T) {
	type want struct {
		home    home
		settled bool
	}
	// Every pair of presences: rows are the old server's, columns the new one's.
	order := []presence{atHome, away, left, waiting}
	table := map[presence][4]want{
		//        new: home                away                 left                 waiting
		atHome:  {{homeUnset, false}, {homeOld, true}, {homeOld, true}, {homeOld, false}},
		away:    {{homeNew, true}, {homeNone, false}, {homeOld, false}, {homeNew, false}},
		left:    {{homeNew, true}, {homeNew, false}, {homeNone, false}, {homeNew, false}},
		waiting: {{homeNew, false}, {homeOld, false}, {homeOld, false}, {homeNone, false}},
	}
	for old, row := range table {
		for i, new := range order {
			got, settled := homeOf(old, new)
			if got != row[i].home || settled != row[i].settled {
				t.Errorf("homeOf(%s, %s) = %s, %v; want %s, %v", old, new, got, settled, row[i].home, row[i].settled)
			}
			// The two servers have the same part in it.
			mirrored, same := homeOf(new, old)
			if swapped := swap(mirrored); swapped != got || same != settled {
				t.Errorf("homeOf(%s, %s) = %s, but mirrored %s", old, new, got, swapped)
			}
		}
	}
}

func swap(h home) home {
	if h == homeOld || h == homeNew {
		return h.other()
	}
	return h
}

func TestPresenceOf(t *testing.T) {
	peer, third := Endpoint{Address: "198.51.100.20"}, Endpoint{Address: "198.51.100.30"}
	for _, c := range []struct {
		route Route
		login Login
		want  presence
	}{
		{Route{Mode: Local}, Login{Mode: Open}, atHome},
		{Route{Mode: Relay, Peer: peer}, Login{Mode: Proxied, Peer: peer}, away},
		{Route{Mode: Relay, Peer: peer, Left: true}, Login{Mode: Proxied, Peer: peer, Left: true}, left},
		{Route{Mode: Relay, Peer: peer, Left: true}, Login{Mode: Proxied, Peer: peer}, left},
		{Route{Mode: Relay, Peer: third}, Login{Mode: Proxied, Peer: peer}, waiting},
		{Route{Mode: Relay, Peer: peer}, Login{Mode: Proxied, Peer: third}, waiting},
		{Route{Mode: Hold}, Login{Mode: Open}, waiting},
		{Route{Mode: Local}, Login{Mode: Parked}, waiting},
		{Route{Mode: Relay, Peer: peer}, Login{Mode: Open}, waiting},
		{Route{Mode: Tee}, Login{Mode: Open}, waiting},
		{Route{Mode: Local}, Login{Mode: Closed}, waiting},
	} {
		if got := presenceOf(c.route, c.login, peer); got != c.want {
			t.Errorf("presenceOf(%+v, %+v) = %s, want %s", c.route, c.login, got, c.want)
		}
	}
}
