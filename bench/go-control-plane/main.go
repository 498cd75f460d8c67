// Serves the resources of a file from go-control-plane's snapshot cache, as `toolward serve` serves its own, for
// comparison in the same run: the same resources to the same clients.
//
// The file named first has one resource a line: {"gateway", "type", "name", "value"}, the value in base64. What comes on
// standard input has the same form and takes the place of what is served. The second argument is the address.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

type line struct {
	Gateway string `json:"gateway"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Value   []byte `json:"value"`
}

// By Gateway, type and name.
type world map[string]map[resource.Type]map[string]types.Resource

func (w world) put(l line) error {
	message, err := (&anypb.Any{TypeUrl: l.Type, Value: l.Value}).UnmarshalNew()
	if err != nil {
		return err
	}
	if w[l.Gateway] == nil {
		w[l.Gateway] = map[resource.Type]map[string]types.Resource{}
	}
	if w[l.Gateway][l.Type] == nil {
		w[l.Gateway][l.Type] = map[string]types.Resource{}
	}
	w[l.Gateway][l.Type][l.Name] = message
	return nil
}

func (w world) snapshot(gateway string, version int) (*cache.Snapshot, error) {
	resources := map[resource.Type][]types.Resource{}
	for kind, named := range w[gateway] {
		for _, message := range named {
			resources[kind] = append(resources[kind], message)
		}
	}
	return cache.NewSnapshot(fmt.Sprint(version), resources)
}

// All Envoys of a Gateway have one snapshot.
type byGateway struct{}

func (byGateway) ID(node *core.Node) string { return node.GetCluster() }

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(path, address string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	all := world{}
	decoder := json.NewDecoder(bufio.NewReader(file))
	for {
		var next line
		if err := decoder.Decode(&next); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		if err := all.put(next); err != nil {
			return err
		}
	}
	ctx := context.Background()
	// Not the mode for ADS: that one holds back answers to clients that ask for a part, as ours do at first.
	snapshots := cache.NewSnapshotCache(false, byGateway{}, nil)
	version := 0
	publish := func(gateway string) error {
		version++
		snapshot, err := all.snapshot(gateway, version)
		if err != nil {
			return err
		}
		return snapshots.SetSnapshot(ctx, gateway, snapshot)
	}
	for gateway := range all {
		if err := publish(gateway); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	transport := grpc.NewServer(grpc.MaxRecvMsgSize(32 << 20))
	discovery.RegisterAggregatedDiscoveryServiceServer(transport, server.NewServer(ctx, snapshots, nil))
	go func() { log.Fatal(transport.Serve(listener)) }()
	fmt.Println("ready")
	changes := json.NewDecoder(os.Stdin)
	for {
		var next line
		if err := changes.Decode(&next); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := all.put(next); err != nil {
			return err
		}
		if err := publish(next.Gateway); err != nil {
			return err
		}
	}
}
