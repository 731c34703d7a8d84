package page_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"leolm/serve/page"
)

// A server has the page below a path of its own.
func ExampleHandler() {
	mux := http.NewServeMux()
	mux.Handle("GET /llm/", http.StripPrefix("/llm", page.Handler()))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/llm/", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
