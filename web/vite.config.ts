import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { VitePWA } from 'vite-plugin-pwa';
import { compress } from './compress.ts';
import { icons } from './icons.ts';

const server = process.env['EZAIGENT_URL'] ?? 'http://127.0.0.1:8700';

export default defineConfig({
  plugins: [
    svelte(),
    icons(),
    VitePWA({
      strategies: 'injectManifest',
      srcDir: 'src/sw',
      filename: 'sw.ts',
      injectRegister: false, // main.ts does it: the content security policy allows no inline script
      manifestFilename: 'manifest.webmanifest',
      includeManifestIcons: false,
      injectManifest: {
        rollupFormat: 'iife',
        globPatterns: ['index.html', 'favicon.svg', 'assets/*.{js,css}'],
        // The server gives the page under `/` alone.
        manifestTransforms: [
          (entries) => ({
            manifest: entries.map((one) => (one.url === 'index.html' ? { ...one, url: '/' } : one)),
            warnings: [],
          }),
        ],
      },
      manifest: {
        id: '/',
        name: 'Ez Aigent',
        short_name: 'Ez Aigent',
        description: 'See and steer a fleet of coding agents.',
        start_url: '/',
        scope: '/',
        display: 'standalone',
        background_color: '#0e1216',
        theme_color: '#0f766e',
        categories: ['developer', 'productivity'],
        icons: [
          { src: '/favicon.svg', sizes: 'any', type: 'image/svg+xml' },
          { src: '/icons/192.png', sizes: '192x192', type: 'image/png' },
          { src: '/icons/512.png', sizes: '512x512', type: 'image/png' },
          { src: '/icons/maskable.png', sizes: '512x512', type: 'image/png', purpose: 'maskable' },
        ],
        shortcuts: [
          { name: 'New task', url: '/#/new' },
          { name: 'For me', url: '/#/tasks?state=review,blocked,failed' },
        ],
      },
    }),
    compress(),
  ],
  resolve: { alias: { $lib: fileURLToPath(new URL('src/lib', import.meta.url)) } },
  build: {
    outDir: '../src/ezaigent/api/static',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0, // the content security policy allows no data: URL
    modulePreload: { polyfill: false },
  },
  worker: { format: 'es' },
  server: { proxy: { '/api': server, '/openapi.json': server, '/healthz': server } },
});
