%% A server of RFC 4740. Base protocol, codec and dictionary are those of Erlang/OTP, which is strict about the
%% M flag, missing and surplus AVPs. Here are only the rules of section 8.7 and the digest.
%%
%%   erl -noshell -pa FOLDER -run strict_sip main IDENTITY ADDRESS PORT [WORD...]
%%
%% A port 0 is one that the kernel chooses. Words: delegate (HA1 goes out with the challenge), sha256, auth_int
%% (is offered alone), hold=FILE (while that file exists, no MAR is answered), redirect=URI,SECONDS (it is an agent
%% that names that server for so long, for REALM_AND_APPLICATION).
%%
%% It prints one line for whatever happens: LISTENING, UP, DOWN, CLOSED, WATCHDOG, MAR, SAR, UAR, LIR, COUNTERS.
-module(strict_sip).
-include_lib("diameter/include/diameter.hrl").
-export([main/1, once_up/2]).
-export([peer_up/3, peer_down/3, pick_peer/4, prepare_request/3, prepare_retransmit/3,
         handle_answer/4, handle_error/4, handle_request/3]).

-define(SERVICE, ?MODULE).
-define(USER, <<"alice">>).
-define(PASSWORD, <<"wonderland">>).

main([Identity, Address, Port | Words]) ->
    {ok, _} = application:ensure_all_started(diameter),
    load(),
    [_, Realm] = string:split(Identity, "."),
    [persistent_term:put({?MODULE, Word}, true) || Word <- Words],
    persistent_term:put({?MODULE, hold}, hd([File || "hold=" ++ File <- Words] ++ [none])),
    persistent_term:put({?MODULE, redirect}, hd([Text || "redirect=" ++ Text <- Words] ++ [none])),
    ets:new(nonces, [named_table, public]),
    persistent_term:put({?MODULE, ups}, counters:new(1, [])),
    true = diameter:subscribe(?SERVICE),
    ok = diameter:start_service(?SERVICE, [
        {'Origin-Host', Identity}, {'Origin-Realm', Realm},
        {'Vendor-Id', 0}, {'Product-Name', "OTP"}, {'Auth-Application-Id', [6]},
        {strict_mbit, true}, {string_decode, false}, {decode_format, map},
        {application, [{alias, sip}, {dictionary, rfc4740_sip}, {module, ?MODULE},
                       {request_errors, callback}]}]),
    {ok, Ip} = inet:parse_address(Address),
    {ok, _} = diameter:add_transport(?SERVICE, {listen, [
        {transport_module, diameter_tcp}, {watchdog_timer, 6000},
        {transport_config, [{ip, Ip}, {port, list_to_integer(Port)}, {reuseaddr, true},
                            {message_cb, {?MODULE, once_up, []}}]}]}),
    say("LISTENING ~b", [port()]),
    watch(none).

%% Otherwise the first CER would have code loaded, which on a busy machine takes longer than a client waits.
load() ->
    Loaded = [Modules || Name <- [kernel, stdlib, crypto, diameter],
                         {ok, Modules} <- [application:get_key(Name, modules)]],
    ok = code:ensure_modules_loaded(lists:append(Loaded) ++ [rfc4740_sip, rfc4590_digest]).

%% The listener is there some time after add_transport.
port() ->
    case [Port || {listen, Port, _} <- diameter_tcp:ports()] of
        [Port | _] -> Port;
        [] -> timer:sleep(10), port()
    end.

say(Format, Values) -> io:format(Format ++ "~n", Values).

%% OTP sends the CEA first, and then has its processes know of the peer. It discards a request that comes in
%% between. So the connection holds its first one back until UP was told, or for a second if it never is.
once_up(recv, Message) ->
    <<_:64, Application:32, _/binary>> = bytes(Message),
    case {Application, get(ups)} of
        {0, undefined} -> put(ups, ups());
        {0, _} -> ok;
        {_, up} -> ok;
        {_, Before} -> wait_for_up(Before, 1000), put(ups, up)
    end,
    [Message];
once_up(send, Message) -> [Message];
once_up(ack, _) -> [].

bytes(#diameter_packet{bin = Bytes}) -> Bytes;
bytes(Bytes) -> Bytes.

ups() -> counters:get(persistent_term:get({?MODULE, ups}), 1).

wait_for_up(_, 0) -> ok;
wait_for_up(Before, Left) ->
    case ups() of
        Before -> timer:sleep(1), wait_for_up(Before, Left - 1);
        _ -> ok
    end.

%% ------------------------------------------------------------------ what happens to connections

watch(Before) ->
    receive
        {diameter_event, ?SERVICE, Event} -> tell(Event)
    after 50 -> ok
    end,
    case diameter:service_info(?SERVICE, transport) of
        [Transport] -> watch(tell_counters(counters(Transport), Before));
        _ -> timer:sleep(infinity)      % it is being stopped
    end.

%% The counters of the connections that there are, and of those that have ended.
counters(Transport) ->
    Open = proplists:get_value(accept, Transport, []),
    All = lists:append([proplists:get_value(statistics, Info, []) || Info <- [Transport | Open]]),
    lists:foldl(fun({Key, N}, Sums) -> maps:update_with(Key, fun(M) -> M + N end, N, Sums) end, #{}, All).

tell_counters(Same, Same) -> Same;
tell_counters(Counters, _) ->
    [count(Counter) || Counter <- maps:to_list(Counters)],
    Counters.

%% What was counted of each message: command, request or answer, direction.
count({{{_, Command, Bit}, Way}, N}) ->
    say("COUNTERS ~b ~s ~s ~b", [Command, element(2 - Bit, {request, answer}), Way, N]);
count({{{_, Command, Bit}, Way, What}, N}) ->
    say("COUNTERS ~b ~s ~s ~b ~0p", [Command, element(2 - Bit, {request, answer}), Way, N, What]);
count({Other, N}) ->
    say("COUNTERS ~0p ~b", [Other, N]).

tell({up, _, {_, #diameter_caps{origin_host = {_, Host}}}, _, _}) ->
    counters:add(persistent_term:get({?MODULE, ups}), 1, 1),
    say("UP ~s", [Host]);
tell({down, _, {_, #diameter_caps{origin_host = {_, Host}}}, _}) -> say("DOWN ~s", [Host]);
tell({closed, _, Reason, _}) -> say("CLOSED ~0p", [element(1, Reason)]);
tell({watchdog, _, _, {From, To}, _}) -> say("WATCHDOG ~s ~s", [From, To]);
tell(_) -> ok.

peer_up(_, _, State) -> State.
peer_down(_, _, State) -> State.

%% It asks nothing.
pick_peer(_, _, _, _) -> false.
prepare_request(Packet, _, _) -> {send, Packet}.
prepare_retransmit(Packet, _, _) -> {send, Packet}.
handle_answer(_, _, _, _) -> ok.
handle_error(Reason, _, _, _) -> {error, Reason}.

%% ------------------------------------------------------------------ MAR, SAR, UAR, LIR (RFC 4740, 8)

handle_request(#diameter_packet{msg = ['MAR' | Mar], errors = Errors, header = Header}, _, {_, Caps}) ->
    #diameter_header{end_to_end_id = End, hop_by_hop_id = Hop, is_retransmitted = Again} = Header,
    say("MAR end_to_end=~b hop_by_hop=~b T=~p errors=~0p names=~0p routed=~0p",
        [End, Hop, Again, Errors, maps:keys(Mar), maps:get('Route-Record', Mar, [])]),
    wait(persistent_term:get({?MODULE, hold})),
    #{'Origin-Host' := Host, 'Origin-Realm' := Realm} = Always = always(Mar, Caps),
    case {Errors, persistent_term:get({?MODULE, redirect})} of
        {[], none} -> {reply, ['MAA' | maps:merge(Always, judge(Mar))]};
        {[], Redirect} -> {reply, redirect(Redirect, Host, Realm)};
        _ -> {reply, ['MAA' | Always#{'Result-Code' => 5012}]}
    end;
handle_request(#diameter_packet{msg = [Name | Asked], errors = Errors}, _, {_, Caps}) ->
    say("~s errors=~0p names=~0p", [Name, Errors, maps:keys(Asked)]),
    case Errors of
        [] -> {reply, [answer_to(Name) | maps:merge(always(Asked, Caps), say_of(Name))]};
        _ -> {answer_message, 5012}
    end.

always(Asked, #diameter_caps{origin_host = {Host, _}, origin_realm = {Realm, _}}) ->
    #{'Session-Id' => maps:get('Session-Id', Asked), 'Auth-Application-Id' => 6, 'Auth-Session-State' => 1,
      'Origin-Host' => Host, 'Origin-Realm' => Realm}.

answer_to('SAR') -> 'SAA';
answer_to('UAR') -> 'UAA';
answer_to('LIR') -> 'LIA'.

%% 8.4; 8.2 for a user who is registered; 8.6 for one who is not.
say_of('SAR') -> #{'Result-Code' => 2001};
say_of('UAR') -> #{'Result-Code' => 2004, 'SIP-Server-URI' => [<<"sip:registrar.siphub.net">>]};
say_of('LIR') ->
    Capabilities = #{'SIP-Mandatory-Capability' => [1, 7], 'SIP-Optional-Capability' => [3]},
    #{'Result-Code' => 2005, 'SIP-Server-Capabilities' => [Capabilities]}.

%% RFC 6733, 6.1.7: an error in the small grammar of 7.2.
redirect(Text, Host, Realm) ->
    [Uri, Seconds] = string:split(Text, ","),
    Avp = fun(Code, Data) -> #diameter_avp{code = Code, is_mandatory = true, data = Data} end,
    Avps = [Avp(292, list_to_binary(Uri)), Avp(261, <<3:32>>), Avp(262, <<(list_to_integer(Seconds)):32>>)],
    ['answer-message' | #{'Origin-Host' => Host, 'Origin-Realm' => Realm, 'Result-Code' => 3006, 'AVP' => Avps}].

wait(none) -> ok;
wait(File) ->
    case filelib:is_file(File) of
        true -> timer:sleep(10), wait(File);
        false -> ok
    end.

judge(#{'SIP-Auth-Data-Item' := [#{'SIP-Authorization' := [Given]}]} = Mar) ->
    Nonce = iolist_to_binary(maps:get('Digest-Nonce', Given)),
    case {iolist_to_binary(maps:get('Digest-Username', Given)), ets:member(nonces, Nonce)} of
        {?USER, true} -> check(Given, Mar);
        {?USER, false} -> challenge(Mar);
        _ -> #{'Result-Code' => 5032}
    end;
judge(Mar) -> challenge(Mar).

challenge(Mar) ->
    Nonce = binary:encode_hex(crypto:strong_rand_bytes(12)),
    ets:insert(nonces, {Nonce}),
    {match, [Domain]} = re:run(maps:get('SIP-AOR', Mar), "^sips?:(?:[^@]*@)?([^:;]+)", [{capture, [1], binary}]),
    Qop = case has("auth_int") of true -> <<"auth-int">>; false -> <<"auth">> end,
    Open = #{'Digest-Realm' => Domain, 'Digest-Nonce' => Nonce, 'Digest-Qop' => [Qop],
             'Digest-Algorithm' => [algorithm()]},
    Told = case has("delegate") of
        true -> Open#{'Digest-HA1' => [ha1(Domain)]};
        false -> Open
    end,
    item(code(Mar, 1001, 2008), #{'SIP-Authenticate' => [Told]}).

check(Given, Mar) ->
    [User, Realm, Nonce, Uri, Response] =
        [iolist_to_binary(maps:get(Name, Given)) || Name <- ['Digest-Username', 'Digest-Realm', 'Digest-Nonce',
                                                             'Digest-URI', 'Digest-Response']],
    ?USER = User,
    Optional = fun(Name) -> iolist_to_binary(maps:get(Name, Given, [])) end,
    Middle = [Nonce, ":", Optional('Digest-Nonce-Count'), ":", Optional('Digest-CNonce'), ":", Optional('Digest-Qop')],
    Body = [[":", Hash] || Hash <- maps:get('Digest-Entity-Body-Hash', Given, [])],
    Digest = fun(Method, More) -> hash([ha1(Realm), ":", Middle, ":", hash([Method, ":", Uri, More])]) end,
    case Digest(Optional('Digest-Method'), Body) of
        Response when Body =:= [] ->
            Info = #{'Digest-Response-Auth' => [Digest("", [])]},
            item(code(Mar, 2001, 2006), #{'SIP-Authentication-Info' => [Info]});
        Response ->     % 9.5.5: rspauth is the client's to compute, which alone knows the body of the answer
            #{'Result-Code' => code(Mar, 2001, 2006)};
        _ -> #{'Result-Code' => 4001}
    end.

item(Code, Content) ->
    #{'Result-Code' => Code, 'SIP-Number-Auth-Items' => [1],
      'SIP-Auth-Data-Item' => [Content#{'SIP-Authentication-Scheme' => 0}]}.

%% Figure 2: the name of a server is stored only if it was told.
code(#{'SIP-Server-URI' := _}, Stored, _) -> Stored;
code(_, _, NotStored) -> NotStored.

has(Word) -> persistent_term:get({?MODULE, Word}, false).

algorithm() -> case has("sha256") of true -> <<"SHA-256">>; false -> <<"MD5">> end.

ha1(Realm) -> hash([?USER, ":", Realm, ":", ?PASSWORD]).

hash(Data) ->
    Kind = case has("sha256") of true -> sha256; false -> md5 end,
    string:lowercase(binary:encode_hex(crypto:hash(Kind, Data))).
