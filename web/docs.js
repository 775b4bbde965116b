// Swagger UI, Apache-2.0. Of the renderers that were tried it is the one that works under our
// Content-Security-Policy as it is.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// Swagger UI where it does not fit: what stands in a button is no link, this daemon is the only server that the page
// can ask, and the admin listener answers no browser.
function Fitted({ React }) {
  return {
    components: {
      DeepLink: ({ text }) => React.createElement("span", null, text),
      ServersContainer: () => null,
    },
    statePlugins: {
      spec: {
        wrapSelectors: {
          allowTryItOutFor: (original) => (state, path, method) =>
            !path.startsWith("/admin") && original(state, path, method),
        },
      },
    },
  };
}

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  plugins: [Fitted],
});

// What it leaves out for those who do not see the page: names, the order of headings, the way to what scrolls.
const operationOf = (element) =>
  element.closest(".opblock")?.querySelector(".opblock-summary-control")?.textContent.split("\u200b").join("");
const parameterOf = (element) => element.closest("[data-param-name]").dataset.paramName;

const REPAIRS = [
  [".information-container", { "role": "region", "aria-label": "About this API" }],
  [".scheme-container", { "role": "region", "aria-label": "Keys" }],
  ["h3.opblock-tag, section.models > h4, .dialog-ux h3", { "aria-level": "2" }],
  [".opblock-body h4, .opblock-body h5, .dialog-ux h4", { "aria-level": "3" }],
  [".responses-table[role=region]", { "aria-label": (table) => `Responses of ${operationOf(table)}` }],
  [".microlight", { "tabindex": "0" }],
  ["[data-param-name] :is(select, input)", { "aria-label": parameterOf }],
  [".examples-select-element", { "aria-label": "Example" }],
  [".body-param__text, .opblock-section-request-body input[type=file]", { "aria-label": "Request body" }],
  [".live-responses-table img", { "alt": "The picture" }],
  [".close-modal", { "aria-label": "Close" }],
  [".auth-btn-wrapper button", { "aria-label": (button) => button.textContent }],
];

new MutationObserver(() => {
  for (const [selector, attributes] of REPAIRS) {
    for (const element of document.querySelectorAll(selector)) {
      for (const [name, given] of Object.entries(attributes)) {
        const value = typeof given === "function" ? given(element) : given;
        if (element.getAttribute(name) !== value) element.setAttribute(name, value);
      }
    }
  }
}).observe(document.getElementById("docs"), { childList: true, subtree: true });
