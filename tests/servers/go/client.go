package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type authorized string

func (token authorized) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+string(token))
	}
	return http.DefaultTransport.RoundTrip(request)
}

// outcome is a result, or the code of an error.
func outcome(value any, err error) any {
	var wire *jsonrpc.Error
	switch {
	case errors.As(err, &wire):
		return map[string]any{"code": wire.Code}
	case err != nil:
		return map[string]any{"error": err.Error()}
	default:
		return value
	}
}

func use(url, token, version string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	updates := make(chan string, 8)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ResourceUpdatedHandler: func(_ context.Context, update *mcp.ResourceUpdatedNotificationRequest) {
			updates <- update.Params.URI
		},
	})
	transport := &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: authorized(token)}}
	session, err := client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		return err
	}
	defer session.Close()
	report := map[string]any{}
	list(ctx, session, report)

	call := func(name string, arguments any) (any, error) {
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
		if err != nil {
			return nil, err
		}
		return result.Content[0].(*mcp.TextContent).Text, nil
	}
	for _, name := range []string{"add", "multiply"} {
		report[name] = outcome(call(name, numbers{A: 6, B: 7}))
	}
	for name, arguments := range map[string]map[string]string{"greeting": {"name": "Bob"}, "secret": {}} {
		result, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: name, Arguments: arguments})
		if err != nil {
			report[name] = outcome(nil, err)
		} else {
			report[name] = result.Messages[0].Content.(*mcp.TextContent).Text
		}
	}
	for _, uri := range []string{"note://today", "note://secret"} {
		result, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
		if err != nil {
			report[uri] = outcome(nil, err)
		} else {
			report[uri] = result.Contents[0].Text
		}
	}
	for key, prompt := range map[string]string{"complete greeting": "greeting", "complete secret": "secret"} {
		result, err := session.Complete(ctx, &mcp.CompleteParams{
			Ref:      &mcp.CompleteReference{Type: "ref/prompt", Name: prompt},
			Argument: mcp.CompleteParamsArgument{Name: "name", Value: "a"},
		})
		if err != nil {
			report[key] = outcome(nil, err)
		} else {
			report[key] = result.Completion.Values
		}
	}

	report["subscribe"] = outcome(func() (any, error) {
		if err := session.Subscribe(ctx, &mcp.SubscribeParams{URI: "note://today"}); err != nil {
			return nil, err
		}
		return updated(updates, func() { _, _ = call("touch", resource{URI: "note://today"}) })
	}())
	report["cancel"] = cancelled(ctx, session)
	if version < "2026" {
		report["pause"] = outcome(call("pause", struct{}{}))
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

func list(ctx context.Context, session *mcp.ClientSession, report map[string]any) {
	tools, prompts, resources, templates := []string{}, []string{}, []string{}, []string{}
	for tool := range session.Tools(ctx, nil) {
		tools = append(tools, tool.Name)
	}
	for prompt := range session.Prompts(ctx, nil) {
		prompts = append(prompts, prompt.Name)
	}
	for resource := range session.Resources(ctx, nil) {
		resources = append(resources, resource.URI)
	}
	for template := range session.ResourceTemplates(ctx, nil) {
		templates = append(templates, template.URITemplate)
	}
	report["tools"], report["prompts"], report["resources"], report["templates"] = tools, prompts, resources, templates
}

// updated touches until an update comes: nobody says when a subscription begins.
func updated(updates <-chan string, touch func()) (any, error) {
	for range 50 {
		touch()
		select {
		case uri := <-updates:
			return uri, nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil, errors.New("no update")
}

func cancelled(ctx context.Context, session *mcp.ClientSession) any {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "count", Arguments: steps{To: 200}})
	if err == nil {
		return "not cancelled"
	}
	return "cancelled"
}
