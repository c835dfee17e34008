// The workflow that the guide prints after the class, with base URL, team and key from the command line.
import { readFileSync } from 'node:fs';

// The guide's class is not exported, and its text is not ours to change.
const source = readFileSync(new URL('node_client.mjs', import.meta.url), 'utf8');
const SaasLLMClient = new Function(`${source}; return SaasLLMClient;`)();

const [baseUrl, teamId, virtualKey, modelGroup] = process.argv.slice(2);
const client = new SaasLLMClient(baseUrl, teamId, virtualKey);

const jobId = await client.createJob('document_analysis', 'user_123', { document_id: 'doc_456' });
const parsed = await client.llmCall(
  jobId,
  modelGroup,
  [
    { role: 'system', content: 'You are a resume parser.' },
    { role: 'user', content: 'John Doe, Python' }
  ],
  { purpose: 'parsing' }
);
await client.llmCall(
  jobId,
  modelGroup,
  [{ role: 'user', content: `Analyze: ${parsed.response.content}` }],
  { purpose: 'analysis' }
);
const completion = await client.completeJob(jobId, 'completed', { result: 'success' });

const failedJobId = await client.createJob('document_analysis');
const failure = await client.completeJob(failedJobId, 'failed', {}, 'no document');

const credits = await client.getCredits();
console.log(JSON.stringify({ parsed: parsed.response.content, completion, failure, credits }));
