// A real kiosk, or a real counter: the certified `openid-client` by its own defaults, without any browser (RFC 8628, CIBA).
//
// Settings: { port, cert, key, ca, issuer, client_id, secret, params, ciba }
//
// GET /start asks, and answers what is shown there. GET /result answers what came of it, once polling has ended.
import { send, serve, settings, trusting } from './peer.mjs';
import * as oidc from 'openid-client';

const config = settings();
const options = { [oidc.customFetch]: trusting(config.ca), execute: [oidc.enableNonRepudiationChecks] };
let outcome;

async function start() {
  const client = await oidc.discovery(new URL(config.issuer), config.client_id, {}, oidc.ClientSecretBasic(config.secret), options);
  const device = await (config.ciba ? oidc.initiateBackchannelAuthentication : oidc.initiateDeviceAuthorization)(client, config.params);
  outcome = (config.ciba ? oidc.pollBackchannelAuthenticationGrant : oidc.pollDeviceAuthorizationGrant)(client, device).then(
    async (tokens) => ({ ok: true, claims: tokens.claims(), userinfo: await oidc.fetchUserInfo(client, tokens.access_token, tokens.claims().sub) }),
    (error) => ({ ok: false, error: error.error, message: error.message }),
  );
  return device;
}

serve(config, async (req, res) => {
  const { pathname } = new URL(req.url, `https://localhost:${config.port}`);
  if (pathname === '/start') send(res, 200, 'application/json', JSON.stringify(await start()));
  else if (pathname === '/result') send(res, 200, 'application/json', JSON.stringify(await outcome));
  else send(res, 404, 'text/plain', 'not found');
}, {});
