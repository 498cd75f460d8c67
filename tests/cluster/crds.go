//go:build crds

// Package cluster keeps Gateway API among the modules; its CRDs are read from the module's files.
package cluster

import _ "sigs.k8s.io/gateway-api/apis/v1"
