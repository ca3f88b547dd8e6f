package plan

import "testing"

func TestTheDemoAndTheTestLabHaveNetworksOfTheirOwn(t *testing.T) {
	demo, err := Choose("demo", map[Network]string{19: "test"})
	if err != nil || demo != 18 {
		t.Fatalf("demo: got %d, %v", demo, err)
	}
	test, err := Choose("test", map[Network]string{18: "demo"})
	if err != nil || test != 19 {
		t.Fatalf("test: got %d, %v", test, err)
	}
}

func TestAnotherLabTakesWhicheverNetworkIsFree(t *testing.T) {
	cases := []struct {
		held map[Network]string
		want Network
	}{
		{map[Network]string{}, 18},
		{map[Network]string{18: "demo"}, 19},
		{map[Network]string{19: "test"}, 18},
		{map[Network]string{18: "demo", 19: "mine"}, 19},
	}
	for _, c := range cases {
		got, err := Choose("mine", c.held)
		if err != nil || got != c.want {
			t.Errorf("held %v: got %d, %v, want %d", c.held, got, err, c.want)
		}
	}
}

func TestATakenNetworkIsAnErrorThatNamesItsHolder(t *testing.T) {
	if _, err := Choose("third", map[Network]string{18: "demo", 19: "test"}); err == nil {
		t.Error("a third lab must be refused")
	}
	if _, err := Choose("demo", map[Network]string{18: "mine"}); err == nil {
		t.Error("the demo lab must not take another network than its own")
	}
}

func TestClustersHaveDistinctAddressesInTheirNetwork(t *testing.T) {
	clusters, err := Clusters(18, MaximumReal, MaximumControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{Network(18).BridgeAddress().String(): true}
	for _, cluster := range clusters {
		address := cluster.Node.String()
		if seen[address] || !Network(18).Prefix().Contains(cluster.Node) {
			t.Errorf("%s: address %s is taken or outside %s", cluster.Name, address, Network(18).Prefix())
		}
		seen[address] = true
	}
	if clusters[0].Name != "c1" || clusters[0].Node.String() != "198.18.0.11" {
		t.Errorf("first cluster: %+v", clusters[0])
	}
}

func TestImpossibleNumbersOfClustersAreRefused(t *testing.T) {
	for _, numbers := range [][2]int{{0, 0}, {-1, 2}, {MaximumReal + 1, 0}, {0, MaximumControlPlane + 1}} {
		if _, err := Clusters(19, numbers[0], numbers[1]); err == nil {
			t.Errorf("%v must be refused", numbers)
		}
	}
}

func TestNamesOfLinksFitTheKernelsLimit(t *testing.T) {
	for _, name := range []string{Network(18).Bridge(), Network(19).Link("k140")} {
		if len(name) > 15 {
			t.Errorf("%s is longer than 15 bytes", name)
		}
	}
}
