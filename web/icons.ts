import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { initWasm, Resvg } from '@resvg/resvg-wasm';
import type { Plugin } from 'vite';

/** Pictures that the build draws out of the drawings beside it; systems that install a web app want pixels. */
const DRAWN = [
  { file: 'icons/192.png', from: 'public/favicon.svg', size: 192 },
  { file: 'icons/512.png', from: 'public/favicon.svg', size: 512 },
  { file: 'icons/maskable.png', from: 'src/icons/maskable.svg', size: 512 },
  { file: 'icons/apple.png', from: 'src/icons/maskable.svg', size: 180 },
  { file: 'icons/badge.png', from: 'src/icons/badge.svg', size: 96 },
];

let ready: Promise<void> | undefined;

/** Draw the icons into the build. */
export function icons(): Plugin {
  return {
    name: 'ezaigent-icons',
    apply: 'build',
    async generateBundle() {
      const machine = createRequire(import.meta.url).resolve('@resvg/resvg-wasm/index_bg.wasm');
      await (ready ??= readFile(machine).then((bytes) => initWasm(bytes)));
      for (const { file, from, size } of DRAWN) {
        const drawing = await readFile(fileURLToPath(new URL(from, import.meta.url)), 'utf-8');
        const picture = new Resvg(drawing, { fitTo: { mode: 'width', value: size } }).render();
        this.emitFile({ type: 'asset', fileName: file, source: picture.asPng() });
      }
    },
  };
}
