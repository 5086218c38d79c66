// Bundles src/ and NiiVue into the package data of medaug.report.viewer, with the licences of all that is in the bundle.
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { build } from 'esbuild'

const OUT = new URL('../medaug/report/viewer/', import.meta.url)

const { metafile, outputFiles } = await build({
  entryPoints: ['src/main.js'],
  alias: { zarrita: './src/no-zarr.js' },
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  charset: 'ascii',
  legalComments: 'none',
  metafile: true,
  write: false,
})
// Addresses in shader comments and package metadata: a report holds none, so that it is plain to see it calls nobody.
const script = outputFiles[0].text.replaceAll(/https?:\/\//g, '')
if (/<\/script|<!--/i.test(script)) throw new Error('the bundle would end the <script> element it is put into')

const packages = [...new Set(Object.keys(metafile.inputs).map(packageOf).filter(Boolean))].sort()
const licences = await Promise.all(packages.map(licenceOf))
await writeFile(new URL('viewer.js', OUT), script.trimEnd() + '\n')
await writeFile(new URL('LICENSES.txt', OUT), licences.join(`\n${'='.repeat(80)}\n\n`))

function packageOf(input) {
  return input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]
}

async function licenceOf(name) {
  const folder = `node_modules/${name}`
  const { version, license } = JSON.parse(await readFile(`${folder}/package.json`, 'utf8'))
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry))
  const text = await readFile(file ? `${folder}/${file}` : `licences/${name.replace('/', '-')}.txt`, 'utf8')
  return `${name} ${version} (${license})\n\n${text.trim()}\n`
}
