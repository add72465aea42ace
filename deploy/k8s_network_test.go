package deploy_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// peer is somebody at the other end of a connection: a pod in a namespace, or an address outside.
type peer struct {
	namespace labels.Set // nil: the overlay's own
	pod       labels.Set
	address   string // instead of both
	protocol  corev1.Protocol
	port      int32
}

func in(namespace string) labels.Set { return labels.Set{corev1.LabelMetadataName: namespace} }

// peersOf are those that are met in an overlay, by name.
func peersOf(overlay string) map[string]peer {
	all := map[string]peer{
		"dns":        {namespace: in("kube-system"), pod: labels.Set{"k8s-app": "kube-dns"}, protocol: corev1.ProtocolUDP, port: 53},
		"dns, long":  {namespace: in("kube-system"), pod: labels.Set{"k8s-app": "kube-dns"}, port: 53},
		"pressone":   {address: "203.0.113.7", port: 443},
		"pressone 6": {address: "2001:db8::7", port: 443},
		// What nobody may reach.
		"plain http":      {address: "203.0.113.7", port: 80},
		"metadata":        {address: "169.254.169.254", port: 443},
		"kubernetes":      {address: "10.96.0.1", port: 443},
		"a neighbour":     {address: "192.168.1.10", port: 443},
		"another's pod":   {namespace: in("default"), pod: labels.Set{"app": "shop"}, port: 5432},
		"nats, monitored": {namespace: in("nats"), pod: labels.Set{"app.kubernetes.io/name": "nats"}, port: 8222},
	}
	switch overlay {
	case "prod":
		all["postgres"] = peer{pod: labels.Set{"cnpg.io/cluster": "esimflow-postgres"}, port: 5432}
		all["nats"] = peer{namespace: in("nats"), pod: labels.Set{"app.kubernetes.io/name": "nats"}, port: 4222}
		all["collector"] = peer{namespace: in("monitoring"), pod: labels.Set{"app.kubernetes.io/name": "opentelemetry-collector"}, port: 4318}
	case "dev":
		all["postgres"] = peer{pod: labels.Set{"app.kubernetes.io/name": "postgres"}, port: 5432}
		all["nats"] = peer{pod: labels.Set{"app.kubernetes.io/name": "nats"}, port: 4222}
		delete(all, "another's pod") // a port is open to all there
	}
	return all
}

// reached is who each workload talks to; nobody else.
var reached = map[string][]string{
	"esimflow-worker":         {"dns", "dns, long", "postgres", "nats", "pressone", "pressone 6", "collector"},
	"esimflow-publisher":      {"dns", "dns, long", "postgres", "nats", "collector"},
	"esimflow-migrate":        {"dns", "dns, long", "postgres"},
	"esimflow-streams":        {"dns", "dns, long", "nats"},
	"esimflow-streams-verify": {"dns", "dns, long", "nats"},
}

// Each of our pods reaches what it needs, in both overlays, and nothing else: not the machine's
// metadata, not the cluster's API, not a neighbour.
func TestPodsReachWhatTheyNeed(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, overlay string, all []manifest) {
		t.Helper()
		for _, w := range workloads(all) {
			if !w.ours() {
				continue
			}
			policies := policiesOf(t, all, w)
			for name, p := range peersOf(overlay) {
				allowed := slices.ContainsFunc(policies, func(policy networkingv1.NetworkPolicy) bool {
					return slices.ContainsFunc(policy.Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
						return admits(t, rule.To, rule.Ports, p, nil)
					})
				})
				require.Equal(t, slices.Contains(reached[w.Name], name), allowed, "%s to %s", w, name)
			}
		}
	})
}

// Prometheus scrapes workers and publishers, whoever is let in sees the console, and nobody else gets
// to any port that a pod has.
func TestPodsAreReachedByWhoNeedsThem(t *testing.T) {
	t.Parallel()
	from := map[string]peer{
		"prometheus": {namespace: in("monitoring"), pod: labels.Set{"app.kubernetes.io/name": "prometheus"}},
		"ingress":    {namespace: labels.Set{corev1.LabelMetadataName: "ingress", "esimflow/console": "allowed"}, pod: labels.Set{"app": "nginx"}},
		"a stranger": {namespace: in("default"), pod: labels.Set{"app": "shop"}},
		"outside":    {address: "203.0.113.7"},
	}
	want := map[string][]string{
		"esimflow-worker telemetry": {"prometheus"}, "esimflow-publisher telemetry": {"prometheus"}, "esimflow-worker http": {"ingress"},
	}
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		ports := 0
		for _, w := range workloads(all) {
			if !w.ours() {
				continue
			}
			policies := policiesOf(t, all, w)
			for _, port := range w.pod.Spec.Containers[0].Ports {
				ports++
				for name, p := range from {
					p.port = port.ContainerPort
					allowed := slices.ContainsFunc(policies, func(policy networkingv1.NetworkPolicy) bool {
						return slices.ContainsFunc(policy.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
							return admits(t, rule.From, rule.Ports, p, w.pod.Spec.Containers[0].Ports)
						})
					})
					require.Equal(t, slices.Contains(want[w.Name+" "+port.Name], name), allowed, "%s to %s of %s", name, port.Name, w)
				}
			}
		}
		require.Equal(t, len(want), ports)
	})
}

// policiesOf are those that apply to the pods of a workload. One of them denies both ways, so that
// what the others do not let through is denied.
func policiesOf(t *testing.T, all []manifest, w workload) (found []networkingv1.NetworkPolicy) {
	t.Helper()
	denied := false
	for _, p := range of[networkingv1.NetworkPolicy](all) {
		if selects(t, &p.Spec.PodSelector, w.pod.Labels) {
			denied = denied || len(p.Spec.PolicyTypes) == 2 && len(p.Spec.Ingress)+len(p.Spec.Egress) == 0
			found = append(found, *p)
		}
	}
	require.True(t, denied, "%s: nothing denies by default", w)
	return found
}

// admits says whether a rule lets a connection with p through, as Kubernetes defines it. A rule that
// names no port, or (but for those of Postgres and NATS, whose place base does not know) nobody, is
// refused here. ports are those of the pod that is talked to, where its names count.
func admits(t *testing.T, who []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, p peer, named []corev1.ContainerPort) bool {
	t.Helper()
	require.NotEmpty(t, ports)
	if p.protocol == "" {
		p.protocol = corev1.ProtocolTCP
	}
	if !slices.ContainsFunc(ports, func(port networkingv1.NetworkPolicyPort) bool {
		number := port.Port.IntVal
		for _, c := range named {
			if c.Name == port.Port.StrVal {
				number = c.ContainerPort
			}
		}
		return *port.Protocol == p.protocol && number == p.port
	}) {
		return false
	}
	return len(who) == 0 || slices.ContainsFunc(who, func(one networkingv1.NetworkPolicyPeer) bool { return is(t, one, p) })
}

// is says whether p is who a policy names.
func is(t *testing.T, named networkingv1.NetworkPolicyPeer, p peer) bool {
	t.Helper()
	if named.IPBlock != nil {
		if p.address == "" {
			return false // a pod's address is not known beforehand
		}
		address := netip.MustParseAddr(p.address)
		excepted := slices.ContainsFunc(named.IPBlock.Except, func(block string) bool { return netip.MustParsePrefix(block).Contains(address) })
		return netip.MustParsePrefix(named.IPBlock.CIDR).Contains(address) && !excepted
	}
	if p.address != "" {
		return false
	}
	if named.NamespaceSelector == nil {
		return p.namespace == nil && selects(t, named.PodSelector, p.pod)
	}
	return selects(t, named.NamespaceSelector, p.namespace) && (named.PodSelector == nil || selects(t, named.PodSelector, p.pod))
}

func selects(t *testing.T, selector *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	return s.Matches(labels.Set(of))
}
