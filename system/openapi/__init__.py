"""The platform described for whoever writes a client: OpenAPI, and a page that shows it."""
