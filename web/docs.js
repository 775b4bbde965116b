// Swagger UI, Apache-2.0. Of the renderers that were tried it is the one that works under our
// Content-Security-Policy as it is.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
