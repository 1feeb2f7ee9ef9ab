// Starts Swagger UI on the page's own description. It asks nobody else: no validator, no other address.
const place = document.getElementById("swagger-ui");

SwaggerUIBundle({
  url: place.dataset.description,
  domNode: place,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  validatorUrl: null,
  queryConfigEnabled: false,
  persistAuthorization: false,
});
