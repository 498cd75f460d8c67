// Says what Go reads in JSON-RPC bodies: for each line of base64 the method, the name and the arguments. Its members are
// found without regard to case, as servers in Go find them.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strings"
)

type message struct {
	Method string `json:"method"`
	Params struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"params"`
}

// canonical gives the value in the form that all readers write: no two values have the same.
func canonical(value any) string {
	switch value := value.(type) {
	case bool:
		if value {
			return "t"
		}
		return "f"
	case float64:
		return fmt.Sprintf("d%016x", math.Float64bits(value+0))
	case string:
		return "s" + hex.EncodeToString([]byte(value))
	case []any:
		elements := make([]string, len(value))
		for index, element := range value {
			elements[index] = canonical(element)
		}
		return "[" + strings.Join(elements, ",") + "]"
	case map[string]any:
		var members []string
		for name, member := range value {
			members = append(members, canonical(name)+":"+canonical(member))
		}
		sort.Strings(members)
		return "{" + strings.Join(members, ",") + "}"
	}
	return "n"
}

func read(line string) string {
	body, err := base64.StdEncoding.DecodeString(line)
	var read message
	if err != nil || json.Unmarshal(body, &read) != nil {
		return "refused"
	}
	var arguments any
	if read.Params.Arguments != nil && json.Unmarshal(read.Params.Arguments, &arguments) != nil {
		return "refused"
	}
	return canonical(read.Method) + " " + canonical(read.Params.Name) + " " + canonical(arguments)
}

func main() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if line == "" && err != nil {
			return
		}
		fmt.Println(read(strings.TrimSpace(line)))
	}
}
