// Package deploy_test checks what is deployed beside the programs: the dashboard, which it
// also writes, the rules and the runbook. What needs a Prometheus is in internal/app.
package deploy_test
