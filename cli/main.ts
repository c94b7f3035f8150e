#!/usr/bin/env node
/** The way in. What Node compiles is kept for the next time, which is more than half of what a short command takes. */
import { enableCompileCache } from 'node:module';

enableCompileCache();
await import('./program.ts');
