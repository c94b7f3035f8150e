#!/usr/bin/env node
/** The entry point. The compile cache saves more than half of the time of a short command. */
import { enableCompileCache } from 'node:module';

enableCompileCache();
await import('./program.ts');
