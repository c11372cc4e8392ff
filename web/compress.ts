import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Plugin, ResolvedConfig } from 'vite';

const TEXT = /\.(js|css|html|svg|webmanifest)$/;
const LEAST = 512; // bytes below which it saves nothing worth a file

/** Put a smaller twin beside each text of the build, `.br` and `.gz`, which the server sends to who takes it. */
export function compress(): Plugin {
  let config: ResolvedConfig;
  return {
    name: 'ezaigent-compress',
    apply: 'build',
    configResolved(resolved) {
      config = resolved;
    },
    closeBundle: {
      order: 'post', // the service worker is written when the bundle is closed, too
      sequential: true,
      async handler() {
        const out = join(config.root, config.build.outDir);
        for (const entry of await readdir(out, { recursive: true, withFileTypes: true })) {
          if (!entry.isFile() || !TEXT.test(entry.name)) continue;
          const path = join(entry.parentPath, entry.name);
          const text = await readFile(path);
          if (text.length < LEAST) continue;
          await writeFile(`${path}.gz`, await promisify(gzip)(text, { level: 9 }));
          const size = { [constants.BROTLI_PARAM_SIZE_HINT]: text.length };
          await writeFile(`${path}.br`, await promisify(brotliCompress)(text, { params: size }));
        }
      },
    },
  };
}
