package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type numbers struct {
	A int `json:"a"`
	B int `json:"b"`
}

type steps struct {
	To int `json:"to"`
}

type action struct {
	Repo struct {
		Owner string `json:"owner"`
	} `json:"repo"`
	To     string   `json:"to"`
	Force  bool     `json:"force,omitempty"`
	Amount float64  `json:"amount,omitempty"`
	Labels []string `json:"labels,omitempty"`
}

type resource struct {
	URI string `json:"uri"`
}

// tell tells the test that a tool really ran, or stopped.
func tell(word, tool string) {
	fmt.Fprintf(os.Stderr, "%s %s\n", word, tool)
}

func text(value any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(value)}}}
}

func serve(port string) error {
	server := mcp.NewServer(&mcp.Implementation{Name: "math", Version: "1"}, &mcp.ServerOptions{
		CompletionHandler:  complete,
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	addTools(server)
	addRest(server)
	own := func(*http.Request) *mcp.Server { return server }
	sessions := mcp.NewStreamableHTTPHandler(own, &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)})
	stateless := mcp.NewStreamableHTTPHandler(own, &mcp.StreamableHTTPOptions{Stateless: true})
	// A handler with sessions knows the old era alone.
	handler := func(response http.ResponseWriter, request *http.Request) {
		if request.Header.Get("Mcp-Protocol-Version") < "2026" {
			sessions.ServeHTTP(response, request)
		} else {
			stateless.ServeHTTP(response, request)
		}
	}
	return http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(handler))
}

func addTools(server *mcp.Server) {
	calculate := func(name, description string, operation func(numbers) int) {
		run := func(_ context.Context, _ *mcp.CallToolRequest, input numbers) (*mcp.CallToolResult, any, error) {
			tell("RAN", name)
			return text(operation(input)), nil, nil
		}
		mcp.AddTool(server, &mcp.Tool{Name: name, Description: description}, run)
	}
	calculate("add", "Add two numbers.", func(input numbers) int { return input.A + input.B })
	calculate("multiply", "Multiply two numbers.", func(input numbers) int { return input.A * input.B })

	act := func(_ context.Context, _ *mcp.CallToolRequest, input action) (*mcp.CallToolResult, any, error) {
		did, err := json.Marshal(map[string]any{
			"owner": input.Repo.Owner, "to": input.To, "force": input.Force, "amount": input.Amount, "labels": input.Labels,
		})
		tell("RAN", "act "+string(did))
		return text("done"), nil, err
	}
	mcp.AddTool(server, &mcp.Tool{Name: "act", Description: "Act, and tell with which arguments."}, act)

	count := func(ctx context.Context, request *mcp.CallToolRequest, input steps) (*mcp.CallToolResult, any, error) {
		tell("RAN", "count")
		token := request.Params.GetProgressToken()
		for step := range input.To {
			if token != nil {
				_ = request.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
					ProgressToken: token, Progress: float64(step), Total: float64(input.To),
				})
			}
			select {
			case <-ctx.Done():
				tell("STOPPED", "count")
				return nil, nil, ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
		return text("done"), nil, nil
	}
	mcp.AddTool(server, &mcp.Tool{Name: "count", Description: "Count slowly, telling of each step."}, count)

	touch := func(ctx context.Context, _ *mcp.CallToolRequest, input resource) (*mcp.CallToolResult, any, error) {
		tell("RAN", "touch")
		return text("done"), nil, server.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: input.URI})
	}
	mcp.AddTool(server, &mcp.Tool{Name: "touch", Description: "Tell whoever subscribed."}, touch)

	pause := func(_ context.Context, request *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		tell("RAN", "pause")
		if extra := request.Extra; extra != nil && extra.CloseSSEStream != nil {
			extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 10 * time.Millisecond})
		}
		time.Sleep(100 * time.Millisecond)
		return text("resumed"), nil, nil
	}
	mcp.AddTool(server, &mcp.Tool{Name: "pause", Description: "Close the stream; the result comes on the next."}, pause)
}

func addRest(server *mcp.Server) {
	prompt := func(value func(map[string]string) string) mcp.PromptHandler {
		return func(_ context.Context, request *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			content := &mcp.TextContent{Text: value(request.Params.Arguments)}
			return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: content}}}, nil
		}
	}
	name := []*mcp.PromptArgument{{Name: "name", Required: true}}
	server.AddPrompt(
		&mcp.Prompt{Name: "greeting", Description: "Greet somebody.", Arguments: name},
		prompt(func(arguments map[string]string) string { return "Hello " + arguments["name"] }),
	)
	server.AddPrompt(
		&mcp.Prompt{Name: "secret", Description: "A prompt that not everybody may have."},
		prompt(func(map[string]string) string {
			tell("RAN", "secret")
			return "hidden"
		}),
	)

	note := func(told, value string) mcp.ResourceHandler {
		return func(_ context.Context, request *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			if told != "" {
				tell("RAN", told)
			}
			contents := []*mcp.ResourceContents{{URI: request.Params.URI, Text: value}}
			return &mcp.ReadResourceResult{Contents: contents}, nil
		}
	}
	server.AddResource(&mcp.Resource{Name: "today", URI: "note://today"}, note("", "nothing"))
	server.AddResource(&mcp.Resource{Name: "secret_note", URI: "note://secret"}, note("note://secret", "hidden"))
	server.AddResourceTemplate(
		&mcp.ResourceTemplate{Name: "day_note", URITemplate: "note://day/{day}"}, note("", "nothing"))
	server.AddResourceTemplate(
		&mcp.ResourceTemplate{Name: "secret_day_note", URITemplate: "secret://day/{day}"}, note("secret://day", "hidden"))
}

func complete(_ context.Context, request *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	tell("RAN", "completion")
	values := []string{}
	for _, name := range []string{"alice", "bob"} {
		if strings.HasPrefix(name, request.Params.Argument.Value) {
			values = append(values, name)
		}
	}
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: values}}, nil
}
