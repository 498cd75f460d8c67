// The Go SDK as a server and as a client.
//
//	sdk serve                  listens on the port that the variable PORT says
//	sdk use URL TOKEN VERSION  does what every client of the tests does, and prints what came of it as JSON
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) == 1 && arguments[0] == "serve":
		err = serve(os.Getenv("PORT"))
	case len(arguments) == 4 && arguments[0] == "use":
		err = use(arguments[1], arguments[2], arguments[3])
	default:
		err = fmt.Errorf("usage: sdk serve | use URL TOKEN VERSION")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
