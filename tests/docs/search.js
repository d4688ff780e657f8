// Print the pages that the site's own search finds, best first.
// Usage: node search.js SITE QUERY...
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const [site, ...queries] = process.argv.slice(2);
const element = { children: [], removeChild() {}, setAttribute() {}, dataset: {} };
const document = {
  addEventListener() {},
  getElementById: () => null,
  querySelector: () => element,
  documentElement: element,
};
const context = vm.createContext({
  document,
  console,
  location: {},
  localStorage: { setItem() {} },
  DOCUMENTATION_OPTIONS: {},
  _: (text) => text,
  SPHINX_HIGHLIGHT_ENABLED: false,
  _ready() {},
});
context.window = context;
for (const file of ["_static/language_data.js", "_static/searchtools.js", "searchindex.js"]) {
  vm.runInContext(fs.readFileSync(path.join(site, file), "utf8"), context);
}
context.queries = queries;
const search = "Search._performSearch(...Search._parseQuery(query)).reverse()";
const found = vm.runInContext(
  `queries.map((query) => ${search}.map((hit) => hit[0]))`,
  context,
);
console.log(JSON.stringify(found));
