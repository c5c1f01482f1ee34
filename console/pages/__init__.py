"""One module a page. Each registers its addresses with `console.frame.page`; `console.server` imports all of them."""
