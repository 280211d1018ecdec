// Bundle src/ into the folder that the server serves.
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const out = process.argv[2] ?? "../mkt_search/web/static";
await mkdir(out, { recursive: true });
await build({
  entryPoints: { app: "src/main.tsx" },
  bundle: true,
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  minify: true,
  outdir: out,
  target: "es2022",
});
await build({
  entryPoints: { app: "src/style.css" },
  bundle: true,
  minify: true,
  outdir: out,
});
for (const name of ["index.html", "icon.svg"]) await copyFile(`src/${name}`, `${out}/${name}`);

// What is bundled asks for its licence to be passed on.
const licences = [];
for (const name of ["preact", "@preact/signals", "@preact/signals-core"]) {
  const text = await readFile(`node_modules/${name}/LICENSE`, "utf8");
  licences.push(`${name}\n\n${text.trim()}\n`);
}
await writeFile(`${out}/licences.txt`, licences.join("\n"));
